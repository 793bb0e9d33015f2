/**
 * A tar archive of plain files, read and written as an OVA needs it: names, sizes and places of its members. Bounded: a stranger
 * made the archive. Paths, links and everything else that could lead out of it are refused, never followed.
 */
import { unsafe, type DiskSource } from './source.ts';
import { isMore, readMore, type More } from './tar-more.ts';

export interface TarMember {
  readonly name: string;
  readonly offset: number;
  readonly sizeBytes: number;
}

const BLOCK = 512;
const MOST_MEMBERS = 64;
/** Those included that say more of a member. */
const MOST_HEADERS = 4 * MOST_MEMBERS;
const PLAIN: ReadonlySet<string> = new Set(['0', '\0', '7']);
const NAME = /^[^/\\\0-\x1f\x7f]{1,200}$/;

/** @throws UNSAFE_IMAGE */
export async function listTar(source: DiskSource): Promise<readonly TarMember[]> {
  const members: TarMember[] = [];
  let more: More = {};
  for (let at = 0, headers = 0; at + BLOCK <= source.sizeBytes; headers++) {
    const header = Buffer.from(await source.read(at, BLOCK));
    if (header.length < BLOCK || header.every((b) => b === 0)) break;
    const entry = read(source, header, at + BLOCK, more);
    at = entry.offset + Math.ceil(entry.sizeBytes / BLOCK) * BLOCK;
    if (members.length === MOST_MEMBERS || headers === MOST_HEADERS)
      throw unsafe(source, `holds more than ${MOST_MEMBERS} files`);
    if (isMore(entry.type)) more = { ...more, ...(await readMore(source, entry)) };
    else {
      const member = plain(source, entry);
      if (members.some((m) => m.name === member.name)) throw unsafe(source, `holds ${member.name} twice`);
      members.push(member);
      more = {};
    }
  }
  return members;
}

interface Entry extends TarMember {
  readonly type: string;
  readonly prefix: string;
}

function read(source: DiskSource, header: Buffer, offset: number, more: More): Entry {
  if (header.subarray(257, 262).toString('latin1') !== 'ustar' || sumOf(header) !== octal(header, 148, 8))
    throw unsafe(source, 'is no tar archive that can be read: a header in it is damaged');
  const type = String.fromCharCode(header[156] ?? 0);
  const own = isMore(type) ? {} : more;
  const hasPrefix = own.name === undefined && header.subarray(257, 263).toString('latin1') === 'ustar\0';
  const [name, prefix] = [own.name ?? field(header, 0, 100), hasPrefix ? field(header, 345, 155) : ''];
  const sizeBytes = own.sizeBytes ?? sizeIn(header);
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || offset + sizeBytes > source.sizeBytes)
    throw unsafe(source, `is truncated: ${shown(name)} lies beyond the end of the file. Copy it again, whole.`);
  return { type, name, prefix, offset, sizeBytes };
}

const shown = (name: string): string => JSON.stringify(name.slice(0, 80));

function plain(source: DiskSource, { type, name, prefix, offset, sizeBytes }: Entry): TarMember {
  if (!PLAIN.has(type))
    throw unsafe(source, `holds ${shown(name)}, which is no plain file (type ${JSON.stringify(type)})`);
  if (prefix !== '' || !NAME.test(name.replace(/^\.\//, '')) || name === '.' || name === '..')
    throw unsafe(source, `holds a file with a path (${shown(name)}); in an ova all files lie at the top`);
  return { name: name.replace(/^\.\//, ''), offset, sizeBytes };
}

const field = (b: Buffer, at: number, length: number): string =>
  b
    .subarray(at, at + length)
    .toString('utf8')
    .replace(/\0[^]*$/, '');
const octal = (b: Buffer, at: number, length: number): number => parseInt(field(b, at, length).trim() || '0', 8);

/** Octal, or, of what is 8 GiB and more, a number of base 256. */
function sizeIn(header: Buffer): number {
  if ((header[124]! & 0x80) === 0) return octal(header, 124, 12);
  return Number(header.readBigUInt64BE(128));
}

function sumOf(header: Buffer): number {
  let sum = 8 * 32;
  for (const [i, b] of header.entries()) if (i < 148 || i >= 156) sum += b;
  return sum;
}

/** The header of a member; its bytes follow, padded by `tarPadding`. */
export function tarHeader(name: string, sizeBytes: number, modifiedMs: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, 100, 'utf8');
  header.write('0000644\0', 100, 'latin1');
  header.write('0000000\0', 108, 'latin1');
  header.write('0000000\0', 116, 'latin1');
  if (sizeBytes < 8 ** 11) header.write(`${sizeBytes.toString(8).padStart(11, '0')}\0`, 124, 'latin1');
  else {
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(sizeBytes), 128);
  }
  header.write(
    `${Math.floor(modifiedMs / 1000)
      .toString(8)
      .padStart(11, '0')}\0`,
    136,
    'latin1',
  );
  header.write('0', 156, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  header.write(`${sumOf(header).toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

export const tarPadding = (sizeBytes: number): Buffer => Buffer.alloc((BLOCK - (sizeBytes % BLOCK)) % BLOCK);
export const TAR_END = Buffer.alloc(2 * BLOCK);
