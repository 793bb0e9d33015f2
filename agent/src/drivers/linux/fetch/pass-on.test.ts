import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { CHUNK_BYTES, ChunkHashes } from '@berth/shared/disk/digest.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { connectNbd, type NbdClient } from '../disks/nbd-client.ts';
import type { NbdExtent } from '../disks/nbd-wire.ts';
import { tempDir } from '../fixture/real.ts';
import { accepts } from '../helpers.ts';
import { Chunks, PIECE_BYTES, type ChunkLink } from './chunks.ts';
import { openPassOn, type PassOn } from './pass-on.ts';
import { openRelay } from './relay.ts';
import { serveNbd, type NbdServer } from './nbd-server.ts';

const SIZE = 2 * CHUNK_BYTES + 3 * PIECE_BYTES;
const PIECES = CHUNK_BYTES / PIECE_BYTES;
const owner = { uid: process.getuid!(), gid: process.getgid!() };
const clock = systemClock;

/** A source that gives each piece when a test says so. */
class Source implements ChunkLink {
  connections = 1;
  readonly asked: number[] = [];
  /** Bytes that it gives wrongly, by their offset. */
  readonly wrong = new Set<number>();
  zeros: readonly NbdExtent[] = [];
  private readonly waiting = new Map<number, () => void>();

  constructor(private readonly disk: Buffer) {}

  read(target: Buffer, offset: number): Promise<void> {
    this.asked.push(offset);
    return new Promise((resolve) =>
      this.waiting.set(offset, () => {
        this.disk.copy(target, 0, offset, offset + target.length);
        if (this.wrong.has(offset)) target[0]! ^= 1;
        resolve();
      }),
    );
  }

  async blockStatus(offset: number, length: number): Promise<readonly NbdExtent[]> {
    const zero = this.zeros.find((z) => z.offset === offset);
    const next = this.zeros.find((z) => z.offset > offset)?.offset ?? Infinity;
    return [zero ?? { offset, length: Math.min(length, next - offset), zero: false }];
  }

  async give(offset: number): Promise<void> {
    await vi.waitFor(() => expect([...this.waiting.keys()]).toContain(offset));
    this.waiting.get(offset)!();
    this.waiting.delete(offset);
  }
}

function hashesOf(disk: Buffer): ChunkHashes {
  const hashes = new ChunkHashes(disk.length);
  for (let at = 0; at < disk.length; at += CHUNK_BYTES) {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    disk.copy(chunk, 0, at, at + CHUNK_BYTES);
    hashes.set(at / CHUNK_BYTES, createHash('sha256').update(chunk).digest());
  }
  return hashes;
}

describe('what a host passes on of an image that it is copying', () => {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  const begin = async (disk = randomBytes(SIZE)) => {
    const dir = tempDir();
    const [source, onWrong, stop] = [new Source(disk), vi.fn(), new AbortController()];
    const onPassedWrong = (): void => passOn.cut();
    const chunks = new Chunks({ link: source, sizeBytes: SIZE, hashes: hashesOf(disk), onWrong, onPassedWrong });
    const copyRead = vi.fn(async (offset: number, length: number) => disk.subarray(offset, offset + length));
    const copy: NbdServer = await serveNbd({ socketPath: join(dir, 'copy'), owner, sizeBytes: SIZE, read: copyRead });
    const passOn: PassOn = await openPassOn({
      ...{ socketPath: join(dir, 'p'), owner, sizeBytes: SIZE, chunks: Promise.resolve(chunks) },
      ...{ copySocket: join(dir, 'copy'), clock, patiently: (data) => data },
    });
    const reader = async (): Promise<NbdClient> => {
      const nbd = await connectNbd({ socketPath: passOn.socketPath, exportName: '', clock, signal: stop.signal });
      ends.push(() => nbd.close());
      return nbd;
    };
    ends.push(
      () => copy.close(),
      () => passOn.close(),
    );
    return { copy, dir, disk, source, chunks, copyRead, onWrong, passOn, reader };
  };

  it('is given piece by piece as it comes, but for the last of a chunk: that waits for the check of the whole', async () => {
    const { disk, source, reader } = await begin();
    const nbd = await reader();
    const first = nbd.read(0, PIECE_BYTES);
    await source.give(0);
    expect((await first).equals(disk.subarray(0, PIECE_BYTES))).toBe(true);
    let last: Buffer | undefined;
    void nbd.read((PIECES - 1) * PIECE_BYTES, PIECE_BYTES).then((bytes) => (last = bytes));
    await source.give((PIECES - 1) * PIECE_BYTES);
    const second = nbd.read(PIECE_BYTES, PIECE_BYTES);
    await source.give(PIECE_BYTES);
    await second;
    expect(last).toBeUndefined();
    for (let i = 2; i < PIECES - 1; i++) await source.give(i * PIECE_BYTES);
    await vi.waitFor(() => expect(last).toBeDefined());
    expect(last!.equals(disk.subarray(CHUNK_BYTES - PIECE_BYTES, CHUNK_BYTES))).toBe(true);
    expect(source.asked).toHaveLength(PIECES);
  });

  it('says what is zeros, as its source does, and asks for none of it', async () => {
    const disk = randomBytes(SIZE).fill(0, PIECE_BYTES, 3 * PIECE_BYTES);
    const { source, reader } = await begin(disk);
    source.zeros = [{ offset: PIECE_BYTES, length: 2 * PIECE_BYTES, zero: true }];
    const nbd = await reader();
    expect(await nbd.blockStatus(0, SIZE)).toEqual([
      { offset: 0, length: PIECE_BYTES, zero: false },
      { offset: PIECE_BYTES, length: 2 * PIECE_BYTES, zero: true },
      { offset: 3 * PIECE_BYTES, length: CHUNK_BYTES - 3 * PIECE_BYTES, zero: false },
    ]);
    const rest = Array.from({ length: PIECES - 3 }, (_, i) => (3 + i) * PIECE_BYTES);
    expect(source.asked).toEqual([0, ...rest]);
  });

  it('is read from the copy when it lies there', async () => {
    const { disk, source, chunks, copyRead, reader } = await begin();
    chunks.isCopied(1);
    const nbd = await reader();
    expect(
      (await nbd.read(CHUNK_BYTES, PIECE_BYTES)).equals(disk.subarray(CHUNK_BYTES, CHUNK_BYTES + PIECE_BYTES)),
    ).toBe(true);
    expect(copyRead).toHaveBeenCalledExactlyOnceWith(CHUNK_BYTES, PIECE_BYTES);
    expect(source.asked).toEqual([]);
  });

  it('is never the whole of a wrong chunk: readers are cut off, and get the right one when they come again', async () => {
    const { disk, source, onWrong, reader } = await begin();
    const nbd = await reader();
    source.wrong.add(0);
    const part = nbd.read(0, PIECE_BYTES);
    await source.give(0);
    expect((await part).equals(disk.subarray(0, PIECE_BYTES))).toBe(false);
    const rest = nbd.read(PIECE_BYTES, (PIECES - 1) * PIECE_BYTES).then(
      () => 'given',
      () => 'refused',
    );
    for (let i = 1; i < PIECES; i++) await source.give(i * PIECE_BYTES);
    expect(await rest).toBe('refused');
    expect(onWrong).toHaveBeenCalledExactlyOnceWith(0);
    source.wrong.clear();
    const again = (await reader()).read(0, CHUNK_BYTES);
    for (let i = 0; i < PIECES; i++) await source.give(i * PIECE_BYTES);
    expect((await again).equals(disk.subarray(0, CHUNK_BYTES))).toBe(true);
  });

  it('blames nobody for a chunk whose pieces came before and after a change of the source, and reads it again', async () => {
    const { disk, source, chunks, onWrong } = await begin();
    const chunk = chunks.get(0);
    source.wrong.add(0);
    await source.give(0);
    source.wrong.clear();
    source.connections++;
    for (let i = 1; i < PIECES; i++) await source.give(i * PIECE_BYTES);
    for (let i = 0; i < PIECES; i++) await source.give(i * PIECE_BYTES);
    expect((await chunk).equals(disk.subarray(0, CHUNK_BYTES))).toBe(true);
    expect(onWrong).not.toHaveBeenCalled();
  });

  it('goes on for those who read when the image is whole, from whatever serves that, and ends with the last of them', async () => {
    const { disk, chunks, copy, dir, passOn, reader, source } = await begin();
    chunks.isCopied(0);
    chunks.isCopied(1);
    const nbd = await reader();
    const recent = nbd.read(2 * CHUNK_BYTES, PIECE_BYTES);
    for (let i = 0; i < 3; i++) await source.give(2 * CHUNK_BYTES + i * PIECE_BYTES);
    await recent;
    chunks.isCopied(2);
    await copy.close();
    // from memory: nothing serves the copy just now
    expect((await nbd.read(2 * CHUNK_BYTES, PIECE_BYTES)).equals(await recent)).toBe(true);
    const late = nbd.read(CHUNK_BYTES, PIECE_BYTES);
    const read = async (offset: number, length: number) => disk.subarray(offset, offset + length);
    const whole = await serveNbd({ socketPath: join(dir, 'whole'), owner, sizeBytes: SIZE, read });
    ends.push(() => whole.close());
    passOn.retire(async () => join(dir, 'whole'));
    expect((await late).equals(disk.subarray(CHUNK_BYTES, CHUNK_BYTES + PIECE_BYTES))).toBe(true);
    nbd.close();
    await vi.waitFor(async () => expect(await accepts(passOn.socketPath)).toBe(false));
    await vi.waitFor(() => expect(whole.readers()).toBe(0));
  });

  it('ends at once when the image is whole and nobody reads it, and says so', async () => {
    const { passOn } = await begin();
    const closed = vi.fn();
    passOn.retire(() => Promise.reject(new Error('nobody asks')), closed);
    await vi.waitFor(async () => expect(await accepts(passOn.socketPath)).toBe(false));
    await vi.waitFor(() => expect(closed).toHaveBeenCalled());
  });

  it('has one connection to the copy, also for those who read at once, and none when it has ended', async () => {
    const { chunks, copy, passOn, reader } = await begin();
    chunks.isCopied(0);
    chunks.isCopied(1);
    const nbd = await reader();
    await nbd.read(CHUNK_BYTES - PIECE_BYTES, 2 * PIECE_BYTES);
    expect(copy.readers()).toBe(1);
    await passOn.close();
    await vi.waitFor(() => expect(copy.readers()).toBe(0));
  });

  it('is all in the copy when the fetch has what it wants: nothing more is asked of a source that was let go', async () => {
    const [dir, disk, stop] = [tempDir(), randomBytes(SIZE), new AbortController()];
    const read = async (offset: number, length: number) => disk.subarray(offset, offset + length);
    const copy = await serveNbd({ socketPath: join(dir, 'copy'), owner, sizeBytes: SIZE, read });
    const relay = await openRelay({
      ...{ image: { digest: 'sha256:1', virtualSizeBytes: SIZE }, owner, clock, log: createLog('test', 'silent') },
      ...{ socketPath: join(dir, 'relay'), sourceSocket: join(dir, 'nobody'), signal: stop.signal, blame: vi.fn() },
      ...{
        hashes: Promise.resolve(hashesOf(disk)),
        passOn: { socketPath: join(dir, 'p'), copySocket: join(dir, 'copy') },
      },
    });
    ends.push(
      () => stop.abort(),
      () => copy.close(),
      () => relay.close(),
      () => relay.passOn.close(),
    );
    relay.finish();
    const nbd = await connectNbd({ socketPath: join(dir, 'p'), exportName: '', clock, signal: stop.signal });
    ends.push(() => nbd.close());
    expect((await nbd.read(PIECE_BYTES, PIECE_BYTES)).equals(disk.subarray(PIECE_BYTES, 2 * PIECE_BYTES))).toBe(true);
  });

  it('is read in pieces of the usual size from a source that tells of crumbs', async () => {
    const { disk, source, chunks } = await begin();
    const crumbs = 64;
    source.blockStatus = async (offset, length) =>
      Array.from({ length: length / crumbs }, (_, i) => ({ offset: offset + i * crumbs, length: crumbs, zero: false }));
    const chunk = chunks.get(0);
    for (let i = 0; i < PIECES; i++) await source.give(i * PIECE_BYTES);
    expect((await chunk).equals(disk.subarray(0, CHUNK_BYTES))).toBe(true);
    expect(source.asked).toHaveLength(PIECES);
  });
});
