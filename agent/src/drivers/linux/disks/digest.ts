/**
 * Computes the digest of a disk (shared/src/disk/digest.ts defines it) from an NBD export: holes cost nothing, several chunks
 * are read and hashed at once, and hashing runs in the thread pool, off the event loop.
 */
import { webcrypto } from 'node:crypto';
import { CHUNK_BYTES, ChunkHashes } from '@berth/shared/disk/digest.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../../disks.ts';
import type { DiskReader } from './mapped-file.ts';

export interface DiskDigest {
  readonly digest: string;
  readonly virtualSizeBytes: number;
  readonly hashes: ChunkHashes;
}

/** Bytes under way: this many times 4 MiB. */
const IN_FLIGHT = 6;

/** @param work progress counts bytes of the disk, holes included. */
export async function digestOfExport(nbd: DiskReader, work: LongWork): Promise<DiskDigest> {
  const size = nbd.sizeBytes;
  const hashes = new ChunkHashes(size);
  const chunks = dataChunks(nbd);
  let done = 0;
  const worker = async (): Promise<void> => {
    // a new one for each chunk would have the garbage collector run all the time
    const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    for (;;) {
      const next = await chunks.next();
      if (next.done === true) return;
      stopIfCancelled(work.signal);
      await hashChunk(nbd, next.value, hashes, buffer);
      done = Math.max(done, Math.min(size, (next.value + 1) * CHUNK_BYTES));
      work.onProgress(done, size);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  stopIfCancelled(work.signal); // a small disk is under way as a whole before anybody could look
  work.onProgress(size, size);
  return { digest: hashes.digest(), virtualSizeBytes: size, hashes };
}

function stopIfCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw new ClusterError('CANCELLED', 'the check of the disk was cancelled');
}

/** Indexes of the chunks that hold data, in order. */
async function* dataChunks(nbd: DiskReader): AsyncGenerator<number, undefined> {
  const size = nbd.sizeBytes;
  let next = 0;
  for (let offset = 0; offset < size;) {
    for (const extent of await nbd.blockStatus(offset, size - offset)) {
      offset = extent.offset + extent.length;
      if (extent.zero) continue;
      const last = Math.floor((offset - 1) / CHUNK_BYTES);
      next = Math.max(next, Math.floor(extent.offset / CHUNK_BYTES));
      for (; next <= last; next++) yield next;
    }
  }
  return undefined;
}

/** @param buffer for the bytes of one chunk */
async function hashChunk(nbd: DiskReader, index: number, hashes: ChunkHashes, buffer: Buffer): Promise<void> {
  const offset = index * CHUNK_BYTES;
  const length = Math.min(CHUNK_BYTES, nbd.sizeBytes - offset);
  await nbd.readInto(buffer.subarray(0, length), offset);
  buffer.fill(0, length);
  hashes.set(index, new Uint8Array(await webcrypto.subtle.digest('SHA-256', buffer)));
}
