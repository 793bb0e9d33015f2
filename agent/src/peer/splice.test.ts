/** Over real sockets: what goes through is what was sent, whoever is slow. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Inflow } from './inflow.ts';
import { splice, type Far } from './splice.ts';

let dir: string;
let count = 0;
const servers: Server[] = [];

beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'berth-splice-'))));
afterEach(async () => {
  for (const s of servers.splice(0)) s.close();
  await rm(dir, { recursive: true });
});

const opened = (socket: Socket): Promise<Socket> =>
  new Promise((resolve) => socket.once('connect', () => resolve(socket)));

/** Two ends of a connection: whoever dialled, and whoever was dialled. */
async function pair(dial: (path: string) => Socket): Promise<readonly [Socket, Socket]> {
  const path = join(dir, `${count++}.sock`);
  const server = createServer();
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const dialled = await opened(dial(path));
  return [dialled, await accepted];
}

async function spliced() {
  const inflow = new Inflow();
  const [reader, near] = await pair((path) => connect({ path }));
  const [far, source] = await pair((path) => connect({ path, onread: inflow.onread }));
  let told = 0;
  const joined: Far = { socket: far, inflow };
  const onBytes = (from: string, bytes: number): unknown => from === 'far' && (told += bytes);
  const end = splice(near, joined, { clock: systemClock, onBytes });
  for (const s of [reader, source]) s.on('error', () => undefined);
  return { reader, source, end, told: () => told };
}

/** Reads to the end, and stops to think after so many bytes, for so many turns. */
async function slowly(reader: Socket, pauses: readonly number[]): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let [bytes, n] = [0, 0];
  for await (const data of reader as AsyncIterable<Buffer>) {
    hash.update(data);
    bytes += data.length;
    const turns = pauses.length === 0 ? 0 : pauses[n++ % pauses.length]!;
    for (let i = 0; i < turns; i++) await setImmediate();
  }
  return { bytes, sha256: hash.digest('hex') };
}

describe('two connections that are joined', () => {
  it('carry every byte as it was sent, in whatever pieces, however slow the reader', async () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 99 }), fc.integer({ min: 1, max: 400_000 })), {
      maxLength: 12,
    });
    await fc.assert(
      fc.asyncProperty(sizes, fc.array(fc.nat(30), { maxLength: 5 }), async (lengths, pauses) => {
        const { reader, source, end, told } = await spliced();
        const sent = lengths.map((n) => randomBytes(n));
        const got = slowly(reader, pauses);
        for (const bytes of sent) source.write(bytes);
        source.end();
        const all = Buffer.concat(sent);
        expect(await got).toEqual({ bytes: all.length, sha256: createHash('sha256').update(all).digest('hex') });
        expect((await end).by).toBe('far');
        expect(told()).toBe(all.length);
      }),
      { numRuns: 30 },
    );
  }, 60_000);

  it('carry what is asked for, and end when the reader does', async () => {
    const { reader, source, end } = await spliced();
    reader.write('please');
    const [asked] = (await new Promise<[Buffer]>((resolve) => source.once('data', (d: Buffer) => resolve([d])))) as [
      Buffer,
    ];
    expect(asked.toString()).toBe('please');
    reader.destroy();
    expect((await end).by).toBe('near');
    await new Promise<void>((resolve) => (source.destroyed ? resolve() : source.once('close', () => resolve())));
  });
});
