/** The PNG is read back by hand, and its checksums were computed elsewhere. */
import { inflateSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { toPng } from './png.ts';

const ppm = (head: string, bytes: readonly number[]): Buffer => Buffer.concat([Buffer.from(head), Buffer.from(bytes)]);
const RED_GREEN = [255, 0, 0, 0, 255, 0];
const BLUE_WHITE = [0, 0, 255, 255, 255, 255];

function chunks(png: Buffer): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (let at = 8; at < png.length;) {
    const length = png.readUInt32BE(at);
    found.set(png.toString('latin1', at + 4, at + 8), png.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  return found;
}

it('keeps the size and every pixel of a PPM', async () => {
  const png = await toPng(ppm('P6\n# made by hand\n2 2\n255\n', [...RED_GREEN, ...BLUE_WHITE]));
  const parts = chunks(png);
  expect([...parts.keys()]).toEqual(['IHDR', 'IDAT', 'IEND']);
  expect(parts.get('IHDR')?.toString('hex')).toBe('00000002000000020802000000');
  expect([...inflateSync(parts.get('IDAT')!)]).toEqual([0, ...RED_GREEN, 0, ...BLUE_WHITE]);
  // of an empty IEND chunk, as in every PNG
  expect(png.subarray(-12).toString('hex')).toBe('0000000049454e44ae426082');
});

it('leaves a PNG as it is', async () => {
  const png = await toPng(ppm('P6 1 1 255\n', [1, 2, 3]));
  expect(await toPng(png)).toBe(png);
});

it('takes a first pixel that looks like white space', async () => {
  const png = await toPng(ppm('P6 1 1 255 ', [32, 10, 35]));
  expect([...inflateSync(chunks(png).get('IDAT')!)]).toEqual([0, 32, 10, 35]);
});

it.each([
  ['', 'is neither PNG nor PPM'],
  ['GIF89a', 'is neither PNG nor PPM'],
  ['P6 2 2 255\nxx', 'ends too early'],
  ['P6 99999 2 255\n', 'is 99999x2'],
  ['P6 0 2 255\n', 'is 0x2'],
  ['P6 1 1 65535\nxxxxxx', 'has 65535 shades'],
  ['P6 1', 'is neither PNG nor PPM'],
])('refuses %j', async (text, words) => {
  await expect(toPng(Buffer.from(text))).rejects.toThrow(words);
});
