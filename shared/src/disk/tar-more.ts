/**
 * What an archive says of a member before the member itself: names that are long or not of ASCII, and large sizes, as pax (POSIX.1-2001) and
 * GNU tar write them. Pure, and bounded: a stranger made the archive.
 */
import { unsafe, type DiskSource } from './source.ts';

/** In place of what the member's own header says. */
export interface More {
  readonly name?: string;
  readonly sizeBytes?: number;
}

/** `x` and `g` of pax, for the next member and for all; `L` of GNU tar. */
const TYPES: ReadonlySet<string> = new Set(['x', 'g', 'L']);
const LONGEST = 64 * 1024;

export const isMore = (type: string): boolean => TYPES.has(type);

/** @throws UNSAFE_IMAGE */
export async function readMore(
  source: DiskSource,
  o: { readonly type: string; readonly offset: number; readonly sizeBytes: number },
): Promise<More> {
  if (o.sizeBytes > LONGEST) throw unsafe(source, 'has a header that is too long');
  const bytes = Buffer.from(await source.read(o.offset, o.sizeBytes));
  if (o.type === 'L') return { name: bytes.toString('utf8').replace(/\0[^]*$/, '') };
  const more = paxOf(source, bytes);
  if (o.type === 'g' && Object.keys(more).length > 0) throw damaged(source);
  return more;
}

/** `27 path=disque-été.vmdk\n`: its own length in bytes, a key and a value. Other keys (times, owners) say nothing of what is in the file. */
function paxOf(source: DiskSource, bytes: Buffer): More {
  let more: More = {};
  for (let at = 0; at < bytes.length && bytes[at] !== 0;) {
    const [head = '', length] = /^(\d{1,5}) /.exec(bytes.subarray(at, at + 6).toString('latin1')) ?? [];
    const record = bytes.subarray(at + head.length, at + Number(length));
    const [, key, value = ''] = /^([^=]+)=([^]*)\n$/.exec(record.toString('utf8')) ?? [];
    if (key === undefined || at + Number(length) > bytes.length) throw damaged(source);
    if (key.startsWith('GNU.sparse.')) throw unsafe(source, 'holds a sparse file. Pack it again, without -S');
    if (key === 'path') more = { ...more, name: value };
    if (key === 'size') more = { ...more, sizeBytes: sizeOf(source, value) };
    at += Number(length);
  }
  return more;
}

function sizeOf(source: DiskSource, value: string): number {
  if (!/^\d{1,15}$/.test(value)) throw damaged(source);
  return Number(value);
}

const damaged = (source: DiskSource) => unsafe(source, 'is no tar archive that can be read: a header in it is damaged');
