/**
 * Computes the digest of a disk (shared/src/disk/digest.ts defines it) from an NBD export: holes cost nothing, several chunks
 * are read and hashed at once, and hashing runs in the thread pool, off the event loop.
 */
import { webcrypto } from 'node:crypto';
import { CHUNK_BYTES, HASH_BYTES, rootDigest, ZERO_CHUNK_HASH, chunkCount } from '@berth/shared/disk/digest.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../../disks.ts';
import type { NbdClient } from './nbd-client.ts';

export interface DiskDigest {
  readonly digest: string;
  readonly virtualSizeBytes: number;
  /** One hash of 32 bytes per chunk. */
  readonly chunkHashes: Buffer;
}

/** Bytes under way: this many times 4 MiB. */
const IN_FLIGHT = 6;

/** @param work progress counts bytes of the disk, holes included. */
export async function digestOfExport(nbd: NbdClient, work: LongWork): Promise<DiskDigest> {
  const size = nbd.sizeBytes;
  const hashes = Buffer.alloc(chunkCount(size) * HASH_BYTES);
  const chunks = dataChunks(nbd, hashes);
  let done = 0;
  const worker = async (): Promise<void> => {
    for (;;) {
      const next = await chunks.next();
      if (next.done === true) return;
      if (work.signal.aborted) throw new ClusterError('CANCELLED', 'the check of the disk was cancelled');
      await hashChunk(nbd, next.value, hashes);
      done = Math.max(done, Math.min(size, (next.value + 1) * CHUNK_BYTES));
      work.onProgress(done, size);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  work.onProgress(size, size);
  return { digest: rootDigest(size, hashes), virtualSizeBytes: size, chunkHashes: hashes };
}

/** Indexes of the chunks that hold data; the hashes of the others are filled in on the way. */
async function* dataChunks(nbd: NbdClient, hashes: Buffer): AsyncGenerator<number, undefined> {
  const size = nbd.sizeBytes;
  /** First chunk whose content is not known yet to be data or zeros. */
  let next = 0;
  for (let offset = 0; offset < size;) {
    for (const extent of await nbd.blockStatus(offset, size - offset)) {
      offset = extent.offset + extent.length;
      if (extent.zero) continue;
      const first = Math.floor(extent.offset / CHUNK_BYTES);
      const last = Math.floor((offset - 1) / CHUNK_BYTES);
      fillZero(hashes, next, first);
      for (next = Math.max(next, first); next <= last; next++) yield next;
    }
  }
  fillZero(hashes, next, chunkCount(size));
  return undefined;
}

function fillZero(hashes: Buffer, from: number, to: number): void {
  for (let i = from; i < to; i++) hashes.set(ZERO_CHUNK_HASH, i * HASH_BYTES);
}

async function hashChunk(nbd: NbdClient, index: number, hashes: Buffer): Promise<void> {
  const offset = index * CHUNK_BYTES;
  const length = Math.min(CHUNK_BYTES, nbd.sizeBytes - offset);
  const data = await nbd.read(offset, length);
  const whole = length === CHUNK_BYTES ? data : Buffer.concat([data, Buffer.alloc(CHUNK_BYTES - length)]);
  hashes.set(new Uint8Array(await webcrypto.subtle.digest('SHA-256', whole)), index * HASH_BYTES);
}
