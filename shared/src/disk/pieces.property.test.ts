/** Property test: pieces are the same bytes. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { BLOCK_BYTES, bytesOf, lengthOf, piecesOf, type Piece } from './pieces.ts';

/** Runs of zeros and of other bytes, of lengths around the block's. */
const runs = fc.array(
  fc.record({
    zero: fc.boolean(),
    length: fc.oneof(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: -2, max: 2 }).map((n) => BLOCK_BYTES + n),
    ),
  }),
  { maxLength: 8 },
);

async function* each(pieces: readonly Piece[]): AsyncGenerator<Piece> {
  yield* pieces;
}

it('pieces are the bytes that they were made of, whatever runs of zeros are in them', async () => {
  await fc.assert(
    fc.asyncProperty(runs, async (all) => {
      const bytes = Buffer.concat(all.map((r) => Buffer.alloc(r.length, r.zero ? 0 : 0xa5)));
      const pieces = [...piecesOf(bytes)];
      expect(pieces.reduce<number>((n, p) => n + lengthOf(p), 0)).toBe(bytes.length);
      expect(pieces.every((p) => lengthOf(p) > 0)).toBe(true);
      expect(pieces.every((p, i) => i === 0 || typeof p !== typeof pieces[i - 1])).toBe(true);
      const back: Uint8Array[] = [];
      for await (const b of bytesOf(each(pieces))) back.push(b);
      expect(Buffer.concat(back).equals(bytes)).toBe(true);
    }),
    { numRuns: 200 },
  );
});

it('whole blocks of zeros are counted, and what is between them stays bytes', () => {
  const data = Buffer.alloc(BLOCK_BYTES, 1);
  const zeros = Buffer.alloc(BLOCK_BYTES);
  expect([...piecesOf(Buffer.concat([zeros, zeros, data, zeros]))]).toEqual([2 * BLOCK_BYTES, data, BLOCK_BYTES]);
});
