import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isClusterError } from '../errors/cluster-error.ts';
import { inspectDiskImage, readOwnQcow2 } from './inspect.ts';
import { L1_AT, L2_AT, makeQcow2, sourceOf, type CountingSource } from './qcow2.fixture.ts';
import { MAX_INSPECT_BYTES, MAX_READ_BYTES } from './source.ts';

const formats = fc.constantFrom('', 'raw', 'qcow2');

/** Either an answer or a ClusterError of one printable line; never more bytes than allowed. */
async function behaves(source: CountingSource, ask: () => Promise<unknown>): Promise<void> {
  const e: unknown = await ask().then(
    () => undefined,
    (e: unknown) => e,
  );
  if (e !== undefined) {
    expect(isClusterError(e, 'UNSAFE_IMAGE'), String(e)).toBe(true);
    expect((e as Error).message).toMatch(/^[^\p{Cc}]+$/u);
  }
  expect(source.readBytes).toBeLessThanOrEqual(MAX_INSPECT_BYTES);
  expect(source.largestRead).toBeLessThanOrEqual(MAX_READ_BYTES);
}

describe('whatever the bytes are', () => {
  it('random bytes get an answer or one clear line', async () => {
    const magics = fc.constantFrom('', 'QFI\xfb\0\0\0\x03', 'QFI\xfb\0\0\0\x02', 'EFI PART', 'KDMV');
    await fc.assert(
      fc.asyncProperty(magics, fc.uint8Array({ maxLength: 4_096 }), formats, async (magic, bytes, format) => {
        const source = sourceOf(Buffer.concat([Buffer.from(magic, 'latin1'), bytes]));
        await behaves(source, () => inspectDiskImage(source, format));
        await behaves(source, () => readOwnQcow2(source));
      }),
      { numRuns: 500 },
    );
  });

  it('a valid qcow2 with fields changed and its end cut off gets an answer or one clear line', async () => {
    const place = fc.oneof(
      fc.nat(120),
      fc.nat(63).map((n) => L1_AT + n),
      fc.nat(63).map((n) => L2_AT + n),
    );
    const value = fc.oneof(fc.constantFrom(0, 1, 0xff, 0x7f, 0x80), fc.nat(255));
    const changes = fc.array(fc.tuple(place, value), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(changes, fc.option(fc.nat(7 * 65_536)), async (change, cut) => {
        const file = makeQcow2();
        for (const [at, byte] of change) file[at] = byte;
        const source = sourceOf(file.subarray(0, cut ?? file.length));
        await behaves(source, () => inspectDiskImage(source, ''));
      }),
      { numRuns: 500 },
    );
  });

  it('a table of millions of entries that all point at one table is read within the bound', async () => {
    const clusterBytes = 2 ** 21;
    const l1 = Buffer.alloc(32 * 2 ** 20 - 8);
    for (let i = 0; i < l1.length; i += 8) l1.writeBigUInt64BE(BigInt(clusterBytes), i);
    const head = makeQcow2({ clusterBits: 21, sizeBytes: 64n * 2n ** 40n, l1Entries: 128 }).subarray(0, 512);
    head.writeBigUInt64BE(BigInt(2 * clusterBytes), 40);
    head.writeBigUInt64BE(0n, 48);
    const file = Buffer.concat([head, Buffer.alloc(2 * clusterBytes - 512), l1]);
    const source = sourceOf(file);
    await behaves(source, () => inspectDiskImage(source, 'qcow2'));
    const small = Buffer.from(file);
    small.writeUInt32BE(9, 20);
    small.writeUInt32BE(4_194_303, 36);
    small.writeBigUInt64BE(2n ** 36n, 24);
    const other = sourceOf(small);
    await behaves(other, () => inspectDiskImage(other, 'qcow2'));
  });
});
