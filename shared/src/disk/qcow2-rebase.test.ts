/** Headers of disks that move to where their image has another path. */
import { expect, it } from 'vitest';
import type { Piece } from './pieces.ts';
import { lengthOf } from './pieces.ts';
import { emptyQcow2 } from './qcow2-create.ts';
import { readOwnQcow2 } from './inspect.ts';
import { rebased, withBackingPath } from './qcow2-rebase.ts';

const read = (file: Uint8Array) =>
  readOwnQcow2({
    ...{ name: 'disk', sizeBytes: file.length },
    read: async (offset, length) => file.subarray(offset, offset + length),
  });
async function* cut(file: Uint8Array, ...at: number[]): AsyncGenerator<Piece> {
  let from = 0;
  for (const to of [...at, file.length]) {
    yield file.subarray(from, to);
    from = to;
  }
}
async function all(pieces: AsyncIterable<Piece>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const p of pieces) parts.push(typeof p === 'number' ? Buffer.alloc(p) : p);
  return Buffer.concat(parts);
}

it.each(['/b', '/var/lib/berth/images/a.qcow2', `/${'long/'.repeat(35)}`])(
  'rests on another path: %s',
  async (path) => {
    const file = emptyQcow2(2 ** 30, '/var/lib/berth/images/base.qcow2');
    for (const at of [[], [30], [104, 65_536], [65_535, 65_537]]) {
      const moved = await all(rebased(cut(file, ...at), path));
      expect(await read(moved)).toEqual({ ...(await read(file)), backingFile: path });
      expect(moved.subarray(65_536).equals(file.subarray(65_536))).toBe(true);
      expect(await read(await all(rebased(cut(moved), '/var/lib/berth/images/base.qcow2')))).toEqual(await read(file));
    }
  },
);

it('keeps runs of zeros that reach beyond the header', async () => {
  const file = emptyQcow2(2 ** 30, '/b');
  async function* pieces(): AsyncGenerator<Piece> {
    yield file.subarray(0, 4_096);
    yield 65_536 - 4_096 + 5 * 2 ** 30;
  }
  let length = 0;
  for await (const p of rebased(pieces(), '/c')) length += lengthOf(p);
  expect(length).toBe(65_536 + 5 * 2 ** 30);
});

it('refuses what rests on nothing, is no qcow2, or has no room', async () => {
  expect(() => withBackingPath(emptyQcow2(2 ** 30), '/b')).toThrow('rests on no other');
  expect(() => withBackingPath(Buffer.alloc(65_536), '/b')).toThrow('is no qcow2');
  const small = emptyQcow2(2 ** 30, '/b');
  small.writeUInt32BE(9, 20);
  expect(() => withBackingPath(small, `/${'x'.repeat(500)}`)).toThrow(/no room/);
  await expect(all(rebased(cut(small.subarray(0, 200)), '/c'))).rejects.toThrow('ends within its header');
});
