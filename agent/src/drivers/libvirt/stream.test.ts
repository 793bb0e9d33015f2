import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { dial } from './dial.ts';
import { errorBytes, FakeLibvirtd, Refusal, SILENCE } from './fake-libvirtd.ts';
import type { Client } from './fake-libvirtd.ts';
import { MAX_STREAM_CHUNK_BYTES, STATUS, TYPE } from './frame.ts';
import type { Message } from './frame.ts';
import { PROC } from './procedures.ts';
import { openStream } from './stream.ts';

const ARGS = { dom: { name: 'web', uuid: '11111111-2222-4333-8444-555555555555', id: 1 }, device: undefined, flags: 0 };
let server: FakeLibvirtd;
let client: Client;
let serial: number;

beforeEach(async () => {
  server = await new FakeLibvirtd().listen();
  server.on(PROC.openConsole, (_args, c, s) => {
    client = c;
    serial = s;
  });
});
afterEach(() => server.dispose());

async function open(): Promise<Duplex> {
  const c = await dial({
    socketPath: server.socketPath,
    uri: 'qemu:///system',
    clock: systemClock,
    withoutServerPings: true,
  });
  return openStream(c, PROC.openConsole, ARGS, 'open the console');
}
const send = (status: number, data?: Uint8Array): void =>
  server.send(client, { type: TYPE.stream, procedure: 201, serial, status }, data);
const received = (status: number): Message[] =>
  client.seen.filter((m) => m.type === TYPE.stream && m.status === status);
const collect = async (s: Duplex): Promise<string> => {
  let text = '';
  for await (const chunk of s) text += String(chunk);
  return text;
};

describe('a stream', () => {
  it('never asks for pings, which a slow reader could not answer', async () => {
    (await open()).destroy();
    expect(server.calls).not.toContain('CONNECT_SUPPORTS_FEATURE');
  });

  it('that is cut while it is being opened, or when nobody reads it any more, ends nobody else', async () => {
    const c = await dial({ socketPath: server.socketPath, uri: 'qemu:///system', clock: systemClock });
    server.on(PROC.openConsole, () => SILENCE);
    const opening = openStream(c, PROC.openConsole, ARGS, 'open the console');
    await vi.waitFor(() => expect(server.calls).toContain('DOMAIN_OPEN_CONSOLE'));
    c.close('it did not open in time');
    await expect(opening).rejects.toThrow(/it did not open in time/);
    await new Promise((resolve) => setImmediate(resolve)); // an error that nobody hears is thrown by then
  });

  it('carries bytes both ways under the serial of its call', async () => {
    const s = await open();
    send(STATUS.more, Buffer.from('login: '));
    expect(String((await once(s, 'data'))[0])).toBe('login: ');
    s.write('root\n');
    await vi.waitFor(() => expect(received(STATUS.more).map((m) => String(m.payload))).toEqual(['root\n']));
    expect(received(STATUS.more)[0]).toMatchObject({ serial, procedure: 201 });
    s.destroy();
  });

  it('may have ended before the call that opens it is answered', async () => {
    server.on(PROC.openConsole, (_args, c, s) => {
      client = c;
      serial = s;
      send(STATUS.more, Buffer.from('all of it'));
      send(STATUS.more);
      return SILENCE;
    });
    const opening = open();
    await vi.waitFor(() => expect(received(STATUS.ok)).toHaveLength(1));
    send(STATUS.ok);
    server.send(client, { type: TYPE.reply, procedure: 201, serial, status: STATUS.ok });
    expect(await collect(await opening)).toBe('all of it');
    await vi.waitFor(() => expect(server.clients.size).toBe(0));
  });

  it('keeps data that comes in one piece with the reply', async () => {
    server.on(PROC.openConsole, (_args, c, s) => {
      client = c;
      serial = s;
      setImmediate(() => {
        send(STATUS.more, Buffer.from('early'));
        send(STATUS.more);
        send(STATUS.ok);
      });
    });
    expect(await collect(await open())).toBe('early');
  });

  it('finishes when the server has no more, and closes its connection', async () => {
    const s = await open();
    const text = collect(s);
    send(STATUS.more, Buffer.from('bye'));
    send(STATUS.more);
    await vi.waitFor(() => expect(received(STATUS.ok)).toHaveLength(1));
    send(STATUS.ok);
    expect(await text).toBe('bye');
    await vi.waitFor(() => expect(server.clients.size).toBe(0));
  });

  it('has written everything when "finish" comes, in pieces that libvirt takes', async () => {
    const s = await open();
    let finished = false;
    s.end(Buffer.alloc(MAX_STREAM_CHUNK_BYTES * 2 + 10), () => (finished = true));
    await vi.waitFor(() => expect(received(STATUS.ok)).toHaveLength(1));
    expect(received(STATUS.more).map((m) => m.payload.length)).toEqual([
      MAX_STREAM_CHUNK_BYTES,
      MAX_STREAM_CHUNK_BYTES,
      10,
    ]);
    expect(finished).toBe(false);
    send(STATUS.ok);
    await vi.waitFor(() => expect(finished).toBe(true));
  });

  it('is aborted by destroy, and closes its connection when that is confirmed', async () => {
    const s = await open();
    s.destroy();
    await vi.waitFor(() => expect(received(STATUS.error)).toHaveLength(1));
    send(STATUS.ok);
    await once(s, 'close');
    await vi.waitFor(() => expect(server.clients.size).toBe(0));
  });

  it('stops the sender while nobody reads', async () => {
    const s = await open();
    const total = 64 * 1024 * 1024;
    let accepted = 0;
    const piece = Buffer.alloc(256_000);
    const pump = (): void => {
      if (accepted >= total || client.socket.destroyed) return;
      accepted += piece.length;
      send(STATUS.more, piece);
      if (client.socket.writableLength > 1_000_000) client.socket.once('drain', pump);
      else setImmediate(pump);
    };
    pump();
    s.once('readable', () => undefined); // reading has begun, and nothing is taken out
    await vi.waitFor(() => expect(client.socket.writableLength).toBeGreaterThan(0));
    expect(s.readableLength).toBeLessThan(8_000_000);
    s.destroy();
  });

  it.each([TYPE.stream, TYPE.reply])('fails with libvirt’s words (message type %d)', async (type) => {
    const s = await open();
    server.send(
      client,
      { type, procedure: 201, serial, status: STATUS.error },
      errorBytes(new Refusal(38, 'cannot write: No space left on device', 28)),
    );
    const [e] = await once(s, 'error');
    expect(e).toMatchObject({ reason: 'DISK_FULL', message: /No space left/ });
    await vi.waitFor(() => expect(server.clients.size).toBe(0));
  });

  it('fails as unknown when the daemon dies', async () => {
    const s = await open();
    client.socket.destroy();
    const [e] = await once(s, 'error');
    expect(e).toMatchObject({ reason: 'HYPERVISOR_UNAVAILABLE', meta: { phase: 'unknown' } });
  });

  it('that is refused leaves no connection behind', async () => {
    server.on(PROC.openConsole, () => {
      throw new Refusal(55, 'domain is not running');
    });
    await expect(open()).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await vi.waitFor(() => expect(server.clients.size).toBe(0));
  });
});
