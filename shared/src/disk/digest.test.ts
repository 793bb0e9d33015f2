import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHUNK_BYTES, chunkCount, ChunkHashes, digestHex, HASH_BYTES, ZERO_CHUNK_HASH } from './digest.ts';

/** The definition, word for word. */
function byDefinition(sizeBytes: number, data: ReadonlyMap<number, Uint8Array>): string {
  const head = Buffer.alloc(12);
  head.writeBigUInt64BE(BigInt(sizeBytes));
  head.writeUInt32BE(4_194_304, 8);
  const hashes = Array.from({ length: Math.ceil(sizeBytes / 4_194_304) }, (_, i) => data.get(i) ?? ZERO_CHUNK_HASH);
  const all = Buffer.concat([Buffer.from('berth-disk-v1\0'), head, ...hashes]);
  return `sha256:${createHash('sha256').update(all).digest('hex')}`;
}

describe('the digest of a disk', () => {
  it('never changes for the same disk', () => {
    expect(new ChunkHashes(10 * 2 ** 20).digest()).toBe(
      'sha256:ef9b75e83eb72c7dcc02aee14a38cc55f5942c6c683bd5808ea63d2d0eff0d32',
    );
  });

  it('is as defined, in whatever order the chunks come', () => {
    const size = fc.integer({ min: 1, max: 20_000 * CHUNK_BYTES });
    fc.assert(
      fc.property(
        size,
        fc.array(fc.tuple(fc.nat(), fc.uint8Array({ minLength: 32, maxLength: 32 })), { maxLength: 20 }),
        (n, data) => {
          const chunks = new Map(data.map(([i, hash]) => [i % chunkCount(n), hash] as const));
          const hashes = new ChunkHashes(n);
          for (const [i, hash] of chunks) hashes.set(i, hash);
          expect(hashes.digest()).toBe(byDefinition(n, chunks));
          const file = Buffer.alloc(chunkCount(n) * HASH_BYTES);
          for (const page of hashes.pages()) page.bytes.copy(file, page.offset);
          for (const [i, hash] of chunks)
            expect(file.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)).toEqual(Buffer.from(hash));
        },
      ),
      { numRuns: 30 },
    );
  });

  it('takes the hash of a chunk of zeros as a constant', () => {
    expect(Buffer.from(ZERO_CHUNK_HASH)).toEqual(createHash('sha256').update(Buffer.alloc(CHUNK_BYTES)).digest());
  });

  it('differs when only the size differs', () => {
    expect(new ChunkHashes(512).digest()).not.toBe(new ChunkHashes(1_024).digest());
  });

  it('takes no chunk that the disk does not have', () => {
    for (const [index, bytes] of [
      [1, 32],
      [-1, 32],
      [0, 31],
    ] as const)
      expect(() => new ChunkHashes(CHUNK_BYTES).set(index, Buffer.alloc(bytes))).toThrow(RangeError);
  });

  it('names a file only when it is a digest', () => {
    expect(digestHex(`sha256:${'a'.repeat(64)}`)).toBe('a'.repeat(64));
    for (const bad of [
      '',
      'sha256:',
      `sha256:${'A'.repeat(64)}`,
      `sha256:../${'a'.repeat(61)}`,
      `md5:${'a'.repeat(64)}`,
    ])
      expect(() => digestHex(bad)).toThrow(/is not an image digest/);
  });
});
