import { createServer, type Server, type Socket } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { afterEach, describe, expect, it } from 'vitest';
import { ByteQueue } from './byte-queue.ts';
import { connectNbd, type NbdClient } from './nbd-client.ts';
import * as wire from './nbd-wire.ts';

const dirs: string[] = [];
const servers: Server[] = [];
const SIZE = 1 << 20;

afterEach(() => {
  for (const s of servers.splice(0)) s.close();
  for (const d of dirs.splice(0)) rmSync(d, { recursive: true });
});

interface Request {
  readonly command: number;
  readonly cookie: bigint;
  readonly offset: number;
  readonly length: number;
  /** That is to be written. */
  readonly data?: Buffer | undefined;
}
type Answer = (r: Request, socket: Socket) => void;

function listen(onConnection: (socket: Socket) => void): string {
  const dir = mkdtempSync(join(tmpdir(), 'nbd-'));
  dirs.push(dir);
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  servers.push(server);
  server.listen(join(dir, 's'));
  return join(dir, 's');
}

/** Honest until the first request, then whatever `answer` says. */
function server(answer: Answer, options: { sizeBytes?: bigint; structured?: boolean; status?: boolean } = {}): string {
  return listen((socket) => void serve(socket, answer, options).catch(() => socket.destroy()));
}

async function serve(
  socket: Socket,
  answer: Answer,
  {
    sizeBytes = BigInt(SIZE),
    structured = true,
    status = true,
  }: { sizeBytes?: bigint; structured?: boolean; status?: boolean },
): Promise<void> {
  const queue = new ByteQueue();
  socket.on('data', (chunk) => queue.push(chunk)).on('close', () => queue.fail(new Error('closed')));
  const hello = Buffer.alloc(18);
  hello.writeBigUInt64BE(wire.NBD_MAGIC, 0);
  hello.writeBigUInt64BE(wire.OPTION_MAGIC, 8);
  hello.writeUInt16BE(3, 16);
  socket.write(hello);
  await queue.read(4);
  for (let option = 0; option !== wire.OPT_GO;) {
    const head = await queue.read(16);
    option = head.readUInt32BE(8);
    await queue.read(head.readUInt32BE(12));
    const reply = (type: number, data = Buffer.alloc(0)): boolean => socket.write(optionReply(option, type, data));
    if (option === wire.OPT_STRUCTURED_REPLY) reply(structured ? wire.REP_ACK : wire.REP_IS_ERROR + 1);
    if (option === wire.OPT_SET_META_CONTEXT) {
      if (status) reply(wire.REP_META_CONTEXT, Buffer.concat([Buffer.alloc(4), Buffer.from('base:allocation')]));
      reply(wire.REP_ACK);
    }
    if (option === wire.OPT_GO) {
      const info = Buffer.alloc(12);
      info.writeBigUInt64BE(sizeBytes, 2);
      reply(wire.REP_INFO, info);
      reply(wire.REP_ACK);
    }
  }
  for (;;) {
    const r = await queue.read(28);
    const request = {
      command: r.readUInt16BE(6),
      cookie: r.readBigUInt64BE(8),
      offset: Number(r.readBigUInt64BE(16)),
      length: r.readUInt32BE(24),
    };
    if (request.command === wire.CMD_DISC) return void socket.end();
    const data = request.command === wire.CMD_WRITE ? await queue.read(request.length) : undefined;
    answer({ ...request, data }, socket);
  }
}

function optionReply(option: number, type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(20);
  head.writeBigUInt64BE(wire.OPTION_REPLY_MAGIC, 0);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(type, 12);
  head.writeUInt32BE(data.length, 16);
  return Buffer.concat([head, data]);
}

function chunk(cookie: bigint, type: number, data: Buffer, done = true): Buffer {
  const head = Buffer.alloc(20);
  head.writeUInt32BE(wire.STRUCTURED_REPLY_MAGIC, 0);
  head.writeUInt16BE(done ? 1 : 0, 4);
  head.writeUInt16BE(type, 6);
  head.writeBigUInt64BE(cookie, 8);
  head.writeUInt32BE(data.length, 16);
  return Buffer.concat([head, data]);
}
const at = (offset: number, data: Buffer): Buffer => {
  const head = Buffer.alloc(8);
  head.writeBigUInt64BE(BigInt(offset));
  return Buffer.concat([head, data]);
};
const u32 = (...ns: number[]): Buffer => {
  const out = Buffer.alloc(4 * ns.length);
  ns.forEach((n, i) => out.writeUInt32BE(n, 4 * i));
  return out;
};

const connect = (socketPath: string, timeoutMs = 2_000): Promise<NbdClient> =>
  connectNbd({ socketPath, exportName: 'x', clock: systemClock, timeoutMs });
const reading = async (answer: Answer, timeoutMs?: number): Promise<unknown> => {
  const client = await connect(server(answer), timeoutMs);
  return client.read(1_024, 512).finally(() => client.close());
};

describe('an NBD client and an honest server', () => {
  it('reads data in pieces, holes and all, and many answers out of order', async () => {
    const late: (() => void)[] = [];
    const client = await connect(
      server((r, socket) => {
        const send = (): void => {
          socket.write(chunk(r.cookie, wire.CHUNK_OFFSET_DATA, at(r.offset + 256, Buffer.alloc(256, 7)), false));
          socket.write(chunk(r.cookie, wire.CHUNK_OFFSET_HOLE, at(r.offset, u32(256))));
        };
        late.push(send);
        if (late.length === 3) for (const f of late.reverse()) f();
      }),
    );
    const parts = await Promise.all([0, 512, 1_024].map((o) => client.read(o, 512)));
    for (const p of parts) expect(p).toEqual(Buffer.concat([Buffer.alloc(256), Buffer.alloc(256, 7)]));
    client.close();
  });

  it('learns what is zeros, and takes all for data from a server that cannot tell', async () => {
    const status: Answer = (r, s) => s.write(chunk(r.cookie, wire.CHUNK_BLOCK_STATUS, u32(0, 4_096, 3, SIZE, 0)));
    const client = await connect(server(status));
    expect(await client.blockStatus(0, 8_192)).toEqual([
      { offset: 0, length: 4_096, zero: true },
      { offset: 4_096, length: 4_096, zero: false },
    ]);
    client.close();
    const simple: Answer = (r, s) =>
      s.write(
        Buffer.concat([
          u32(wire.SIMPLE_REPLY_MAGIC, 0),
          chunk(r.cookie, 0, Buffer.alloc(0)).subarray(8, 16),
          Buffer.alloc(r.length, 5),
        ]),
      );
    const old = await connect(server(simple, { structured: false }));
    expect(await old.blockStatus(0, 8_192)).toEqual([{ offset: 0, length: 8_192, zero: false }]);
    expect(await old.read(0, 512)).toEqual(Buffer.alloc(512, 5));
    old.close();
  });

  it('writes data behind what asks for it, and is told when there is no room', async () => {
    const written: unknown[] = [];
    const client = await connect(
      server((r, s) => {
        written.push([r.command, r.offset, r.data?.toString()]);
        if (r.offset === 0) s.write(chunk(r.cookie, 0, Buffer.alloc(0)));
        else s.write(chunk(r.cookie, 0x8001, Buffer.concat([u32(28), Buffer.from('\0\x04full')])));
      }),
    );
    await client.write(0, Buffer.from('bytes'));
    await expect(client.write(512, Buffer.from('more'))).rejects.toMatchObject({ reason: 'DISK_FULL' });
    await client.flush();
    expect(written).toEqual([
      [wire.CMD_WRITE, 0, 'bytes'],
      [wire.CMD_WRITE, 512, 'more'],
      [wire.CMD_FLUSH, 0, undefined],
    ]);
    await expect(client.write(SIZE - 1, Buffer.from('over its end'))).rejects.toThrow(RangeError);
    client.close();
  });

  it('passes on an error of one request and goes on with the next', async () => {
    const client = await connect(
      server((r, s) => {
        if (r.offset === 0) s.write(chunk(r.cookie, 0x8001, Buffer.concat([u32(5), Buffer.from('\0\x04oops')])));
        else s.write(chunk(r.cookie, wire.CHUNK_OFFSET_DATA, at(r.offset, Buffer.alloc(r.length, 1))));
      }),
    );
    await expect(client.read(0, 512)).rejects.toMatchObject({
      message: expect.stringMatching(/input\/output error: oops$/) as string,
    });
    expect(await client.read(512, 512)).toEqual(Buffer.alloc(512, 1));
    client.close();
    await expect(client.read(512, 512)).rejects.toMatchObject({ reason: 'INTERNAL' });
  });
});

describe('an NBD client and a server that lies', () => {
  const lies: Record<string, Answer> = {
    'sends garbage': (_, s) => s.write(Buffer.alloc(64, 0xee)),
    'closes the connection': (_, s) => s.destroy(),
    'answers what nobody asked': (r, s) => s.write(chunk(r.cookie + 9n, 0, Buffer.alloc(0))),
    'sends bytes outside the request': (r, s) =>
      s.write(chunk(r.cookie, wire.CHUNK_OFFSET_DATA, at(0, Buffer.alloc(512)))),
    'sends more than was asked': (r, s) =>
      s.write(chunk(r.cookie, wire.CHUNK_OFFSET_DATA, at(r.offset, Buffer.alloc(513)))),
    'sends a hole larger than the request': (r, s) =>
      s.write(chunk(r.cookie, wire.CHUNK_OFFSET_HOLE, at(r.offset, u32(513)))),
    'leaves bytes out': (r, s) => s.write(chunk(r.cookie, wire.CHUNK_OFFSET_DATA, at(r.offset, Buffer.alloc(100)))),
    'answers a read with a block status': (r, s) => s.write(chunk(r.cookie, wire.CHUNK_BLOCK_STATUS, u32(0, 512, 0))),
    'sends an endless error': (r, s) => s.write(chunk(r.cookie, 0x8001, Buffer.alloc(100_000))),
  };
  for (const [what, answer] of Object.entries(lies))
    it(`fails with one line when it ${what}`, async () => {
      await expect(reading(answer)).rejects.toMatchObject({
        reason: 'INTERNAL',
        message: expect.stringMatching(/^NBD export "x" at \/.*: [^\n]+$/) as string,
      });
    });

  it('does not wait for ever for an answer or a greeting', async () => {
    await expect(reading(() => undefined, 50)).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
    await expect(
      connect(
        listen(() => undefined),
        50,
      ),
    ).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
  });

  it('refuses a greeting, a size or extents that make no sense', async () => {
    await expect(connect(listen((s) => s.write('SSH-2.0-OpenSSH_9.2 hello hello')))).rejects.toThrow(
      /this is no NBD server/,
    );
    await expect(connect(server(() => undefined, { sizeBytes: 2n ** 63n }))).rejects.toThrow(/absurd size/);
    await expect(connect('/nonexistent/socket')).rejects.toMatchObject({ reason: 'INTERNAL' });
    const client = await connect(server((r, s) => s.write(chunk(r.cookie, wire.CHUNK_BLOCK_STATUS, u32(0, 0, 0)))));
    await expect(client.blockStatus(0, 512)).rejects.toThrow(/empty extent/);
  });

  it('ends with CANCELLED when its signal says so', async () => {
    const abort = new AbortController();
    const path = server(() => abort.abort());
    const client = await connectNbd({ socketPath: path, exportName: 'x', clock: systemClock, signal: abort.signal });
    await expect(client.read(0, 512)).rejects.toMatchObject({ reason: 'CANCELLED' });
  });

  it('tells a full disk apart from other refusals, and asks again after either', async () => {
    const refusals = [wire.ENOSPC, 5];
    const errors: Answer = (r, socket) => {
      const body = Buffer.alloc(6);
      body.writeUInt32BE(refusals.shift() ?? 0, 0);
      const refused = body.readUInt32BE(0) !== 0;
      socket.write(
        chunk(r.cookie, refused ? wire.CHUNK_IS_ERROR + 1 : wire.CHUNK_NONE, refused ? body : Buffer.alloc(0)),
      );
    };
    const nbd = await connectNbd({ socketPath: server(errors), exportName: 'x', clock: systemClock });
    await expect(nbd.cache(0, 4_096)).rejects.toMatchObject({ reason: 'DISK_FULL' });
    await expect(nbd.cache(0, 4_096)).rejects.toMatchObject({ reason: 'INTERNAL' });
    await nbd.cache(0, 4_096);
    await nbd.flush();
    expect(nbd.ended).toBe(false);
    nbd.close();
    expect(nbd.ended).toBe(true);
  });
});
