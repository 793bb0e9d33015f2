/**
 * The hashes of an image's chunks on their way to another host, and in a file beside a copy that fills. Whoever reads them
 * believes nothing: together they must make up the digest. Pure, but for reading the file of an installed image.
 *
 *   "BHL1"   then pages: number (u32, big endian), length in bytes (u32), so many bytes of hashes; a page that is left out
 *            is of zeros (shared/src/disk/digest.ts has the pages)
 */
import { open } from 'node:fs/promises';
import { chunkCount, ChunkHashes, HASH_BYTES } from '@berth/shared/disk/digest.ts';

const MAGIC = Buffer.from('BHL1');
const PAGE_HASHES = 4_096;
const PAGE_BYTES = PAGE_HASHES * HASH_BYTES;
const HEAD_BYTES = 8;
const NO_HASH = Buffer.alloc(HASH_BYTES);

/** Of as many as there can be; more is no list of ours. */
export const mostListBytes = (virtualSizeBytes: number): number => {
  const pages = Math.ceil(chunkCount(virtualSizeBytes) / PAGE_HASHES);
  return MAGIC.length + pages * (HEAD_BYTES + PAGE_BYTES);
};

/** From the file of an installed image, which has holes where the disk is zeros. */
export async function packHashFile(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  const parts: Buffer[] = [MAGIC];
  try {
    const { size } = await file.stat();
    for (let offset = 0; offset < size; offset += PAGE_BYTES) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(PAGE_BYTES), 0, PAGE_BYTES, offset);
      const page = buffer.subarray(0, bytesRead - (bytesRead % HASH_BYTES));
      if (page.length > 0 && page.some((b) => b !== 0)) parts.push(head(offset / PAGE_BYTES, page.length), page);
    }
  } finally {
    await file.close();
  }
  return Buffer.concat(parts);
}

export function packHashes(hashes: ChunkHashes): Buffer {
  const pages = [...hashes.pages()].map(({ offset, bytes }) =>
    Buffer.concat([head(offset / PAGE_BYTES, bytes.length), bytes]),
  );
  return Buffer.concat([MAGIC, ...pages]);
}

function head(page: number, length: number): Buffer {
  const out = Buffer.alloc(HEAD_BYTES);
  out.writeUInt32BE(page, 0);
  out.writeUInt32BE(length, 4);
  return out;
}

/** Undefined unless they are the hashes of this very image. */
export function unpackHashes(
  packed: Buffer,
  image: { readonly digest: string; readonly virtualSizeBytes: number },
): ChunkHashes | undefined {
  if (packed.length > mostListBytes(image.virtualSizeBytes) || !packed.subarray(0, MAGIC.length).equals(MAGIC))
    return undefined;
  const hashes = new ChunkHashes(image.virtualSizeBytes);
  const count = chunkCount(image.virtualSizeBytes);
  for (let at = MAGIC.length; at + HEAD_BYTES <= packed.length;) {
    const [page, length] = [packed.readUInt32BE(at), packed.readUInt32BE(at + 4)];
    at += HEAD_BYTES;
    if (length > PAGE_BYTES || length % HASH_BYTES !== 0 || at + length > packed.length) return undefined;
    if (page * PAGE_HASHES + length / HASH_BYTES > count) return undefined;
    for (let i = 0; i < length / HASH_BYTES; i++) {
      const hash = packed.subarray(at + i * HASH_BYTES, at + (i + 1) * HASH_BYTES);
      if (!hash.equals(NO_HASH)) hashes.set(page * PAGE_HASHES + i, hash);
    }
    at += length;
  }
  return hashes.digest() === image.digest ? hashes : undefined;
}
