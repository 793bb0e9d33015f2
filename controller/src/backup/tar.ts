/**
 * Plain files in a tar archive (ustar), so that `tar` can look into a backup that is not encrypted. Written and read as a
 * stream; reading is bounded and refuses whatever writing never makes. Not what is in them, nor whether it is whole: manifest.ts.
 */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { ByteReader } from './byte-reader.ts';

export interface TarFile {
  readonly path: string;
  readonly bytes: number;
  readonly mode: number;
  readonly mtimeMs: number;
  readonly data: () => AsyncIterable<Uint8Array>;
}

export interface TarEntry {
  readonly path: string;
  readonly bytes: number;
}

const BLOCK = 512;
const MAX_PATH = 100;
/** Larger ones do not fit into eleven octal digits, and are written in base 256. */
const OCTAL_LIMIT = 8 ** 11;

/** @throws when a file has not the bytes that it promised. */
export async function* writeTar(files: Iterable<TarFile> | AsyncIterable<TarFile>): AsyncGenerator<Uint8Array> {
  for await (const file of files) {
    yield header(file);
    let bytes = 0;
    for await (const chunk of file.data()) {
      bytes += chunk.length;
      yield chunk;
    }
    if (bytes !== file.bytes) throw badState(`${file.path} changed while it was read; try again`);
    yield padding(bytes);
  }
  yield new Uint8Array(2 * BLOCK);
}

/** Calls `take` for each file in turn; what it leaves of the data is skipped. */
export async function readTar(
  reader: ByteReader,
  take: (entry: TarEntry, data: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<void> {
  for (;;) {
    const block = await reader.exactly(BLOCK);
    if (isEmpty(block)) {
      if (!isEmpty(await reader.exactly(BLOCK))) throw badState('it is damaged, or no backup of a controller');
      return;
    }
    const entry = parseHeader(block);
    const data = reader.some(entry.bytes);
    await take(entry, data);
    for await (const _ of data) void _;
    if (!isEmpty(await reader.exactly(padding(entry.bytes).length))) throw badState('it is damaged');
  }
}

const isEmpty = (block: Uint8Array): boolean => block.every((b) => b === 0);
const padding = (bytes: number): Uint8Array => new Uint8Array((BLOCK - (bytes % BLOCK)) % BLOCK);

function header(f: TarFile): Uint8Array {
  if (!isPlainPath(f.path)) throw badState(`${f.path} has no name that can be kept in a backup`);
  const block = Buffer.alloc(BLOCK);
  block.write(f.path, 0, 'latin1');
  block.write(octal(f.mode, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  if (f.bytes < OCTAL_LIMIT) block.write(octal(f.bytes, 11), 124);
  else {
    block.writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(f.bytes), 128);
  }
  block.write(octal(Math.floor(f.mtimeMs / 1000), 11), 136);
  block.write('0', 156);
  block.write('ustar\x0000', 257, 'latin1');
  block.fill(' ', 148, 156);
  block.write(`${octal(checksum(block), 6)}\0 `, 148, 'latin1');
  return block;
}

const octal = (n: number, digits: number): string => n.toString(8).padStart(digits, '0');
const checksum = (block: Uint8Array): number => block.reduce((sum, b) => sum + b, 0);

function parseHeader(block: Uint8Array): TarEntry {
  const b = Buffer.from(block);
  const told = Number.parseInt(b.toString('latin1', 148, 154), 8);
  b.fill(' ', 148, 156);
  const path = b.toString('latin1', 0, MAX_PATH).replace(/\0+$/, '');
  const bytes = b[124] === 0x80 ? Number(b.readBigUInt64BE(128)) : Number.parseInt(b.toString('latin1', 124, 135), 8);
  const good = b.toString('latin1', 257, 262) === 'ustar' && told === checksum(b) && b[156] === 0x30;
  if (!good || !isPlainPath(path) || !Number.isSafeInteger(bytes) || bytes < 0)
    throw badState('it is damaged, or no backup of a controller');
  return { path, bytes };
}

/** Relative, below its folder, of harmless letters: nothing else is written, and nothing else is unpacked. */
function isPlainPath(path: string): boolean {
  return (
    path.length < MAX_PATH &&
    /^[A-Za-z0-9._/-]+$/.test(path) &&
    path.split('/').every((p) => p !== '' && !/^\.+$/.test(p))
  );
}
