/**
 * The digest of a disk: a Merkle root over what a guest sees, whatever file format holds it. No I/O; the agent streams the
 * chunks. Definition, version 1, never to change (a new rule would be a new prefix):
 *
 *   chunk i    bytes [i × 4 MiB, (i + 1) × 4 MiB) of the disk; the last chunk is padded with zero bytes to 4 MiB
 *   H[i]       SHA-256 of chunk i, 32 bytes; of a chunk of zeros it is ZERO_CHUNK_HASH, so holes need no reading
 *   root       SHA-256 of: the ASCII text "berth-disk-v1", one zero byte, the virtual size in bytes (u64, big endian),
 *              the chunk size 4194304 (u32, big endian), H[0], H[1], …
 *   digest     "sha256:" and the root in lower-case hex
 */
import { createHash } from 'node:crypto';
import { invalidArgument } from '../errors/cluster-error.ts';

export const CHUNK_BYTES = 4 * 2 ** 20;
export const HASH_BYTES = 32;

/** SHA-256 of 4 MiB of zero bytes. */
export const ZERO_CHUNK_HASH: Uint8Array = Buffer.from(
  'bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8',
  'hex',
);

export const chunkCount = (virtualSizeBytes: number): number => Math.ceil(virtualSizeBytes / CHUNK_BYTES);

/** Hashes of a 16 GiB stretch; what has no page is zeros, so a huge empty disk costs nothing. */
const PAGE_HASHES = 4_096;
const ZERO_PAGE = Buffer.alloc(PAGE_HASHES * HASH_BYTES, ZERO_CHUNK_HASH);

/** H[0], H[1], … of one disk, in any order of arrival. Chunks that are never set are zeros. */
export class ChunkHashes {
  readonly #pages = new Map<number, Buffer>();

  constructor(readonly virtualSizeBytes: number) {}

  set(index: number, hash: Uint8Array): void {
    if (hash.length !== HASH_BYTES || index < 0 || index >= chunkCount(this.virtualSizeBytes))
      throw new RangeError(`no chunk ${index} of a disk of ${this.virtualSizeBytes} bytes`);
    const number = Math.floor(index / PAGE_HASHES);
    const page = this.#pages.get(number) ?? Buffer.from(ZERO_PAGE.subarray(0, this.#pageBytes(number)));
    page.set(hash, (index % PAGE_HASHES) * HASH_BYTES);
    this.#pages.set(number, page);
  }

  /** Of one chunk. */
  get(index: number): Uint8Array {
    const page = this.#pages.get(Math.floor(index / PAGE_HASHES));
    const at = (index % PAGE_HASHES) * HASH_BYTES;
    return page?.subarray(at, at + HASH_BYTES) ?? ZERO_CHUNK_HASH;
  }

  isZero(index: number): boolean {
    return Buffer.compare(this.get(index), ZERO_CHUNK_HASH) === 0;
  }

  /** The digest, `sha256:<hex>`. */
  digest(): string {
    const head = Buffer.alloc(12);
    head.writeBigUInt64BE(BigInt(this.virtualSizeBytes), 0);
    head.writeUInt32BE(CHUNK_BYTES, 8);
    const root = createHash('sha256').update('berth-disk-v1\0').update(head);
    for (let n = 0; n * PAGE_HASHES < chunkCount(this.virtualSizeBytes); n++)
      root.update(this.#pages.get(n) ?? ZERO_PAGE.subarray(0, this.#pageBytes(n)));
    return `sha256:${root.digest('hex')}`;
  }

  /** What to write where in a file of all hashes; what is not written is of zeros, and so is a hash of 32 zero bytes. */
  *pages(): Generator<{ readonly offset: number; readonly bytes: Buffer }> {
    for (const [n, bytes] of this.#pages) yield { offset: n * PAGE_HASHES * HASH_BYTES, bytes };
  }

  #pageBytes(number: number): number {
    return Math.min(PAGE_HASHES, chunkCount(this.virtualSizeBytes) - number * PAGE_HASHES) * HASH_BYTES;
  }
}

const DIGEST = /^sha256:([0-9a-f]{64})$/;

/** The hex part, which names files. INVALID_ARGUMENT for anything that is not a digest. */
export function digestHex(digest: string): string {
  const hex = DIGEST.exec(digest)?.[1];
  if (hex === undefined)
    throw invalidArgument(`${JSON.stringify(digest.slice(0, 80))} is not an image digest (sha256: and 64 hex digits)`);
  return hex;
}
