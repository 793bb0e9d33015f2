/** Small things with files that must not go wrong half-way: atomic writes, fsync, and a full disk told as DISK_FULL. */
import type { BigIntStats } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { DiskSource } from '@berth/shared/disk/source.ts';
import { joined } from '@berth/shared/runtime/joined.ts';

export const codeOf = (e: unknown): string | undefined => (e as NodeJS.ErrnoException | undefined)?.code;

/** A full disk or quota becomes DISK_FULL; other errors pass. @param what "storing the upload": what could not be done. */
export async function tellingFull<T>(what: string, path: string, fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (e) {
    if (isClusterError(e) || !['ENOSPC', 'EDQUOT'].includes(codeOf(e) ?? '')) throw e;
    throw new ClusterError(
      'DISK_FULL',
      `no space left for ${what} in ${dirname(path)}; free some there`,
      {},
      { cause: e },
    );
  }
}

/** After this the names in a folder survive a power cut. Many clones made at once share one run. */
export const syncDir = joined(async (path) => {
  const dir = await open(path, 'r');
  try {
    await dir.sync();
  } finally {
    await dir.close();
  }
});

export async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

export interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Whole or not at all, also after a power cut. The half-written name begins with a dot. */
export async function writeAtomic(path: string, data: string | Iterable<Piece>, mode: number): Promise<void> {
  const half = `${dirname(path)}/.${path.slice(dirname(path).length + 1)}.half`;
  try {
    const file = await open(half, 'w', mode);
    try {
      if (typeof data === 'string') await file.writeFile(data);
      else for (const p of data) await file.write(p.bytes, 0, p.bytes.length, p.offset);
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(half, path);
  } catch (e) {
    await rm(half, { force: true });
    throw e;
  }
  await syncDir(dirname(path));
}

/** Undefined when it does not exist. */
export async function sizeOf(path: string): Promise<{ size: number; allocated: number; mtimeMs: number } | undefined> {
  const s = await statOf(path);
  return s && { size: Number(s.size), allocated: Number(s.blocks) * 512, mtimeMs: Number(s.mtimeMs) };
}

/** Undefined when it does not exist. */
export async function statOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(path, { bigint: true });
  } catch (e) {
    if (codeOf(e) === 'ENOENT') return undefined;
    throw e;
  }
}

/** Lets the header parsers of shared/src/disk read a file. */
export async function withSource<T>(path: string, name: string, fn: (source: DiskSource) => Promise<T>): Promise<T> {
  const file = await open(path, 'r');
  try {
    const { size: sizeBytes } = await file.stat();
    const read = async (offset: number, length: number): Promise<Uint8Array> => {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, offset);
      return buffer.subarray(0, bytesRead);
    };
    return await fn({ name, sizeBytes, read });
  } finally {
    await file.close();
  }
}
