/** The small NBD server against readers who ask for more than they take: what it reads and keeps for one of them is bounded. */
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { afterEach, expect, it, vi } from 'vitest';
import { connectNbd } from '../disks/nbd-client.ts';
import * as wire from '../disks/nbd-wire.ts';
import { tempDir } from '../fixture/real.ts';
import { serveNbd } from './nbd-server.ts';

const MIB = 2 ** 20;
const SIZE = 64 * MIB;
const owner = { uid: process.getuid!(), gid: process.getgid!() };
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Agrees on everything, and asks for so many reads at once. */
function greedy(socketPath: string, requests: number, length: number): Socket {
  const socket = connect({ path: socketPath });
  ends.push(() => socket.destroy());
  const go = Buffer.alloc(4 + 16 + 6);
  go.writeBigUInt64BE(wire.OPTION_MAGIC, 4);
  go.writeUInt32BE(wire.OPT_GO, 12);
  go.writeUInt32BE(6, 16);
  socket.write(go);
  const reads = Array.from({ length: requests }, (_, i) => wire.encodeRequest(wire.CMD_READ, BigInt(i), 0, length));
  socket.write(Buffer.concat(reads));
  return socket;
}

it('reads so much at once for one reader, and goes on when he has got some of it', async () => {
  const socketPath = join(tempDir(), 's');
  const waiting: (() => void)[] = [];
  const read = vi.fn(
    (_: number, length: number) => new Promise<Buffer>((resolve) => waiting.push(() => resolve(Buffer.alloc(length)))),
  );
  const server = await serveNbd({ socketPath, owner, sizeBytes: SIZE, read });
  ends.push(() => server.close());
  greedy(socketPath, 1_000, 512).resume();
  await vi.waitFor(() => expect(read).toHaveBeenCalledTimes(16));
  // what follows on a connection of its own is answered after what came before it: nothing more was begun
  const other = connectNbd({ socketPath, exportName: '', clock: systemClock });
  (await other).close();
  expect(read).toHaveBeenCalledTimes(16);
  waiting.shift()!();
  await vi.waitFor(() => expect(read).toHaveBeenCalledTimes(17));
});

it('reads large pieces one after the other, and none for a reader who does not take what he has got', async () => {
  const socketPath = join(tempDir(), 's');
  const read = vi.fn(async (_: number, length: number) => Buffer.alloc(length));
  const server = await serveNbd({ socketPath, owner, sizeBytes: SIZE, read });
  ends.push(() => server.close());
  const socket = greedy(socketPath, 40, 32 * MIB).pause();
  await vi.waitFor(() => expect(read).toHaveBeenCalled());
  await (await connectNbd({ socketPath, exportName: '', clock: systemClock })).read(0, 512);
  expect(read.mock.calls.filter(([, length]) => length > 512).length).toBeLessThan(5);
  let got = 0;
  socket.on('data', (d) => (got += d.length)).resume();
  await vi.waitFor(() => expect(got).toBeGreaterThan(40 * 32 * MIB), { timeout: 60_000 });
}, 90_000);

it('lets a reader go who leaves while he waits for an answer', async () => {
  const socketPath = join(tempDir(), 's');
  const read = vi.fn(() => new Promise<Buffer>(() => undefined));
  const server = await serveNbd({ socketPath, owner, sizeBytes: SIZE, read });
  ends.push(() => server.close());
  const socket = greedy(socketPath, 100, 512);
  await vi.waitFor(() => expect(read).toHaveBeenCalledTimes(16));
  socket.destroy();
  await vi.waitFor(() => expect(server.readers()).toBe(0));
});
