/**
 * A picture of a screen as PNG. Hypervisors without libpng give PPM, which hardly anything shows. Pure. A guest chooses how
 * large its screen is, so every length is checked.
 */
import { deflate } from 'node:zlib';
import { promisify } from 'node:util';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
/** Eight bits, RGB, and no choice in the rest. */
const RGB8 = Buffer.from([8, 2, 0, 0, 0]);
const LARGEST_SIDE = 16_384;
const packed = promisify<Buffer, { level: number }, Buffer>(deflate);

const unreadable = (what: string): ClusterError => new ClusterError('INTERNAL', `the picture of the screen ${what}`);

/** @param picture PNG, which is left as it is, or PPM with eight bits a colour. INTERNAL for anything else. */
export async function toPng(picture: Buffer): Promise<Buffer> {
  if (picture.subarray(0, SIGNATURE.length).equals(SIGNATURE)) return picture;
  const { width, height, pixels } = readPpm(picture);
  const size = Buffer.alloc(8);
  size.writeUInt32BE(width, 0);
  size.writeUInt32BE(height, 4);
  const data = await packed(lines(pixels, width * 3, height), { level: 6 });
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', Buffer.concat([size, RGB8])),
    chunk('IDAT', data),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** `P6`, width, height and the largest colour, between white space or comments; then the pixels after one more byte. */
function readPpm(picture: Buffer): { width: number; height: number; pixels: Buffer } {
  const head = picture.subarray(0, 1024).toString('latin1');
  const gap = '(?:\\s|#[^\\n]*\\n)+';
  const found = new RegExp(`^P6${gap}(\\d+)${gap}(\\d+)${gap}(\\d+)\\s`).exec(head);
  if (found === null) throw unreadable('is neither PNG nor PPM');
  const [width, height, most] = [Number(found[1]), Number(found[2]), Number(found[3])];
  if (most !== 255) throw unreadable(`has ${most} shades of a colour, not 255`);
  const fits = (n: number): boolean => n > 0 && n <= LARGEST_SIDE;
  if (!fits(width) || !fits(height)) throw unreadable(`is ${width}x${height}`);
  const pixels = picture.subarray(found[0].length);
  if (pixels.length < width * height * 3) throw unreadable('ends too early');
  return { width, height, pixels };
}

/** Each line has a byte before it that names its filter: none. */
function lines(pixels: Buffer, lineBytes: number, height: number): Buffer {
  const out = Buffer.alloc((lineBytes + 1) * height);
  for (let y = 0; y < height; y++) pixels.copy(out, y * (lineBytes + 1) + 1, y * lineBytes, (y + 1) * lineBytes);
  return out;
}

function chunk(type: string, data: Buffer): Buffer {
  const out = Buffer.alloc(12 + data.length);
  out.writeUInt32BE(data.length, 0);
  out.write(type, 4, 'latin1');
  data.copy(out, 8);
  out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length);
  return out;
}

/** node:zlib has one only from Node 22 on. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function crc32(bytes: Buffer): number {
  let c = 0xffffffff;
  for (const byte of bytes) c = (CRC_TABLE[(c ^ byte) & 0xff] ?? 0) ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}
