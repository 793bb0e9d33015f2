/** Against sources that drip: they answer, and nothing of it becomes whole. */
import { createServer, connect, type Server, type Socket } from 'node:net';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { chunkCount, ChunkHashes } from '@berth/shared/disk/digest.ts';
import { packHashes } from '../disks/hash-list.ts';
import { tempDir } from '../fixture/real.ts';
import { hashesFor, isUnchecked } from './hashes.ts';
import { serveNbd, type NbdServer } from './nbd-server.ts';
import { SourceLink } from './source-link.ts';

const MIB = 2 ** 20;
const SIZE = 8 * MIB;
const clock = systemClock;
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function listen(path: string, onSocket: (s: Socket) => void): Promise<void> {
  const server: Server = createServer((s) => {
    s.on('error', () => undefined);
    ends.push(() => s.destroy());
    onSocket(s);
  });
  await new Promise<void>((done) => server.listen(path, done));
  ends.push(() => server.close());
}

/** A byte now and then, for ever. */
function drip(s: Socket): void {
  const timer = setInterval(() => s.write(Buffer.alloc(1)), 20);
  s.on('close', () => clearInterval(timer));
}

describe('a source of an image', () => {
  /** @param honest so many bytes of the first answer come as they should */
  async function between(isDripping: () => boolean, honest: number): Promise<string> {
    const dir = tempDir();
    const [real, path] = [join(dir, 'r'), join(dir, 's')];
    const owner = { uid: process.getuid!(), gid: process.getgid!() };
    const read = async (_offset: number, length: number): Promise<Buffer> => Buffer.alloc(length, 7);
    const server: NbdServer = await serveNbd({ socketPath: real, owner, sizeBytes: SIZE, read });
    ends.push(() => server.close());
    await listen(path, (near) => {
      const far = connect(real);
      let isSlow = false;
      near.on('data', (d: Buffer) => far.write(d));
      // what is read is large, what is agreed on is not
      far.on('data', (d: Buffer) => {
        if (isDripping() && (isSlow || d.length > 10_000)) {
          if (!isSlow) near.write(d.subarray(0, honest));
          if (!isSlow) drip(near);
          isSlow = true;
        } else near.write(d);
      });
      near.on('close', () => far.destroy());
      far.on('error', () => undefined).on('close', () => near.destroy());
    });
    return path;
  }

  it('is turned away when nothing of what it sends becomes whole, and what was asked of it is asked of the next', async () => {
    let isDripping = true;
    const socketPath = await between(() => isDripping, 5_000);
    const stop = new AbortController();
    const blame = vi.fn(() => void (isDripping = false));
    const options = { socketPath, exportName: '', sizeBytes: SIZE, clock, signal: stop.signal, blame };
    const link = new SourceLink({ ...options, stalledMs: 400 });
    ends.push(() => stop.abort());
    const bytes = Buffer.alloc(MIB);
    await link.read(bytes, MIB, true);
    expect(bytes.equals(Buffer.alloc(MIB, 7))).toBe(true);
    expect(blame).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('has given nothing whole'));
  });

  it('is turned away when each connection to it ends in nonsense', async () => {
    let isLying = true;
    const socketPath = await between(() => isLying, 0);
    const stop = new AbortController();
    ends.push(() => stop.abort());
    const blame = vi.fn(() => void (isLying = false));
    const link = new SourceLink({ socketPath, exportName: '', sizeBytes: SIZE, clock, signal: stop.signal, blame });
    const bytes = Buffer.alloc(MIB);
    await link.read(bytes, MIB, true);
    expect(bytes.equals(Buffer.alloc(MIB, 7))).toBe(true);
    expect(blame).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('makes sense'));
  });

  it('is blamed when the list of its hashes does not end, and another gives it; nobody is while there is none', async () => {
    const dir = tempDir();
    const hashes = new ChunkHashes(SIZE);
    for (let i = 0; i < chunkCount(SIZE); i++) hashes.set(i, Buffer.alloc(32, i + 1));
    let accepted = 0;
    await mkdir(join(dir, 'c'));
    await listen(join(dir, 'h'), (s) => {
      accepted++;
      if (accepted === 1) drip(s);
      else setTimeout(() => s.end(packHashes(hashes)), 600); // held as long as there is no source
    });
    const blame = vi.fn();
    const got = await hashesFor({
      ...{ image: { digest: hashes.digest(), virtualSizeBytes: SIZE }, copyPath: join(dir, 'c/copy') },
      ...{ socketPath: join(dir, 'h'), guestsRest: async () => false, blame, clock, listMs: 300 },
      signal: new AbortController().signal,
    });
    expect(got?.digest()).toBe(hashes.digest());
    expect(blame).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('in time'));
  });

  it('without hashes leaves a mark that an earlier run has made, whoever rests on the copy by now', async () => {
    const dir = tempDir();
    await listen(join(dir, 'h'), (s) => void s.end());
    const copyPath = join(dir, 'copy');
    let rests = false;
    const wanted = {
      ...{ image: { digest: `sha256:${'ab'.repeat(32)}`, virtualSizeBytes: SIZE }, copyPath, blame: () => undefined },
      ...{ socketPath: join(dir, 'h'), clock, signal: new AbortController().signal },
    };
    expect(await hashesFor({ ...wanted, guestsRest: async () => false })).toBeUndefined();
    // looked at again after the mark was made
    let asked = 0;
    const guestsRest = async (): Promise<boolean> => (rests = ++asked > 3);
    expect(await hashesFor({ ...wanted, guestsRest })).toBeUndefined();
    expect([rests, await isUnchecked(copyPath)]).toEqual([false, true]);
  });
});
