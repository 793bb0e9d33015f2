import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { CHUNK_BYTES, chunkCount, digestHex, HASH_BYTES, rootDigest, ZERO_CHUNK_HASH } from './digest.ts';

describe('the digest of a disk', () => {
  it('never changes for the same disk', () => {
    expect(rootDigest(10 * 2 ** 20, Buffer.concat([ZERO_CHUNK_HASH, ZERO_CHUNK_HASH, ZERO_CHUNK_HASH]))).toBe(
      'sha256:ef9b75e83eb72c7dcc02aee14a38cc55f5942c6c683bd5808ea63d2d0eff0d32',
    );
  });

  it('takes the hash of a chunk of zeros as a constant', () => {
    expect(Buffer.from(ZERO_CHUNK_HASH)).toEqual(createHash('sha256').update(Buffer.alloc(CHUNK_BYTES)).digest());
  });

  it('differs when only the size differs', () => {
    const hashes = Buffer.alloc(HASH_BYTES);
    expect(rootDigest(512, hashes)).not.toBe(rootDigest(1_024, hashes));
  });

  it('is not computed from too few or too many chunks', () => {
    expect(chunkCount(CHUNK_BYTES + 1)).toBe(2);
    expect(() => rootDigest(CHUNK_BYTES + 1, Buffer.alloc(HASH_BYTES))).toThrow(RangeError);
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
