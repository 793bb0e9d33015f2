import { createHash } from 'node:crypto';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CHUNK_BYTES, ChunkHashes } from '@berth/shared/disk/digest.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { describe, expect, it } from 'vitest';
import { describeReal, exec, tempDir, work } from '../fixture/real.ts';
import { digestOfExport } from './digest.ts';
import { createDigestService } from './digest-service.ts';
import { openMapped } from './mapped-file.ts';
import { createPool, preparePool } from './pool.ts';

/** Data, a hole, a written chunk of zeros, and a last chunk that is short. */
const SIZE = 5 * CHUNK_BYTES + 123 * 512;

async function makeRaw(path: string): Promise<Buffer> {
  const disk = Buffer.alloc(SIZE);
  for (let i = 0; i < 3_000; i++) disk[i * 7] = i;
  disk.fill(0xab, 4 * CHUNK_BYTES - 5, 4 * CHUNK_BYTES + 5);
  disk.fill(0xcd, SIZE - 10);
  const file = await open(path, 'w');
  await file.truncate(SIZE);
  for (const chunk of [0, 1, 3, 4, 5]) {
    const part = disk.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
    await file.write(part, 0, part.length, chunk * CHUNK_BYTES);
  }
  await file.close();
  return disk;
}

function digestOf(disk: Buffer): string {
  const hashes = new ChunkHashes(disk.length);
  for (let at = 0; at < disk.length; at += CHUNK_BYTES) {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    disk.copy(chunk, 0, at);
    hashes.set(at / CHUNK_BYTES, createHash('sha256').update(chunk).digest());
  }
  return hashes.digest();
}

describe('the digest of a disk', () => {
  it('has zeros after the end of the last chunk, whatever was read before', async () => {
    const disk = Buffer.alloc(12 * CHUNK_BYTES + 512, 0xee);
    const reader = {
      sizeBytes: disk.length,
      readInto: async (target: Buffer, offset: number) => void disk.copy(target, 0, offset),
      blockStatus: async (offset: number, length: number) => [{ offset, length, zero: false }],
      close: () => undefined,
    };
    expect((await digestOfExport(reader, work)).digest).toBe(digestOf(disk));
  });
});

describeReal('the digest of a file', ['qemu-img', 'qemu-nbd'], () => {
  const service = async () => {
    const pool = createPool(join(tempDir(), 'd'));
    await preparePool(pool);
    return { pool, digests: createDigestService({ exec, pool, clock: systemClock }) };
  };

  it('is that of what a guest sees, whatever the format, the cluster size or the holes', async () => {
    const { pool, digests } = await service();
    const raw = join(pool.cacheDir, 'a.raw');
    const wanted = digestOf(await makeRaw(raw));
    const forms: Record<string, string[]> = {
      plain: [],
      compressed: ['-c'],
      'small clusters': ['-o', 'cluster_size=4096'],
      'large clusters': ['-o', 'cluster_size=2M'],
      'no holes': ['-S', '0'],
      'version 2': ['-o', 'compat=0.10'],
    };
    for (const [name, options] of Object.entries(forms)) {
      const path = join(pool.cacheDir, 'b.qcow2');
      await exec.run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, path]);
      expect(await digests.ofFile(path, 'qcow2', work), name).toMatchObject({ digest: wanted, virtualSizeBytes: SIZE });
      await exec.run('rm', [path]);
    }
    expect((await digests.ofFile(raw, 'raw', work)).digest).toBe(wanted);
  });

  it('is read straight from the file where its data lies there as it is, and nowhere else', async () => {
    const { pool } = await service();
    const [raw, path] = [join(pool.cacheDir, 'a.raw'), join(pool.cacheDir, 'b.qcow2')];
    const disk = await makeRaw(raw);
    const { signal } = new AbortController();
    const made = async (...options: string[]) => {
      await exec.run('qemu-img', options);
      return openMapped(exec, path, 'qcow2', signal);
    };
    const convert = ['convert', '-f', 'raw', '-O', 'qcow2'];
    const mapped = await made(...convert, raw, path);
    expect(mapped?.sizeBytes).toBe(SIZE);
    // what lay there before counts for nothing
    const bytes = Buffer.alloc(3 * CHUNK_BYTES, 9);
    await mapped?.readInto(bytes, CHUNK_BYTES - 7);
    expect(bytes.equals(disk.subarray(CHUNK_BYTES - 7, 4 * CHUNK_BYTES - 7))).toBe(true);
    const extents = await mapped?.blockStatus(0, SIZE);
    expect(extents?.reduce((bytes, e) => bytes + e.length, 0)).toBe(SIZE);
    expect(extents?.some((e) => e.zero)).toBe(true);
    mapped?.close();
    expect(await made(...convert, '-c', raw, path)).toBeUndefined();
    expect(await made('create', '-q', '-f', 'qcow2', '-b', raw, '-F', 'raw', path)).toBeUndefined();
    // data in another file: at the same places of this one may lie anything
    const other = ['-o', `data_file=${join(pool.cacheDir, 'c.data')},data_file_raw=off`];
    expect(await made(...convert, ...other, raw, path)).toBeUndefined();
  });

  it('of a huge empty disk comes at once', async () => {
    const { pool, digests } = await service();
    const path = join(pool.cacheDir, 'big.qcow2');
    await exec.run('qemu-img', ['create', '-q', '-f', 'qcow2', path, '1T']);
    const seen: number[] = [];
    const { digest, hashes } = await digests.ofFile(path, 'qcow2', { ...work, onProgress: (done) => seen.push(done) });
    expect(digest).toBe(new ChunkHashes(2 ** 40).digest());
    expect([...hashes.pages()]).toEqual([]);
    expect(seen.at(-1)).toBe(2 ** 40);
  });

  it('fails with one line for a file that is none, and ends with CANCELLED when told', async () => {
    const { pool, digests } = await service();
    const path = join(pool.cacheDir, 'bad');
    await writeFile(path, 'no disk');
    await expect(digests.ofFile(path, 'qcow2', work)).rejects.toMatchObject({ reason: 'INTERNAL' });
    const raw = join(pool.cacheDir, 'a.raw');
    await makeRaw(raw);
    const stop = new AbortController();
    const cancelled = digests.ofFile(raw, 'raw', { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(cancelled).rejects.toMatchObject({ reason: 'CANCELLED' });
  });
});
