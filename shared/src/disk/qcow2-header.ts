/**
 * The header of a qcow2 file, versions 2 and 3, with its extensions: numbers out of bytes, every one checked for sense.
 * What is acceptable in an image (no backing file, …) is qcow2-policy.ts's; the tables behind it qcow2-tables.ts's.
 */
import { printable, unsafe, type BoundedReader } from './source.ts';

export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly virtualSizeBytes: number;
  readonly clusterBytes: number;
  /** Made printable; undefined when the file stands alone. */
  readonly backingFile: string | undefined;
  readonly encryption: number;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountOffset: number;
  readonly refcountClusters: number;
  readonly snapshots: number;
  readonly snapshotsOffset: number;
  readonly incompatible: bigint;
  readonly extensions: ReadonlyMap<number, string>;
}

export const INCOMPATIBLE = {
  dirty: 1n << 0n,
  corrupt: 1n << 1n,
  dataFile: 1n << 2n,
  compression: 1n << 3n,
  extendedL2: 1n << 4n,
} as const;
export const EXTENSION = { backingFormat: 0xe2792aca, dataFile: 0x44415441, encryption: 0x0537be77 } as const;

/** "a virtual size of a petabyte" is a mistake or an attack, not a disk. */
export const MAX_VIRTUAL_BYTES = 64 * 2 ** 40;
const V2_BYTES = 72;
const V3_BYTES = 104;
const MAX_EXTENSIONS = 64;
const MAX_BACKING_NAME_BYTES = 1_023;
const QCOW2_MAGIC = 0x514649fb;

export const isQcow2 = (start: Buffer): boolean =>
  start.length >= 8 && start.readUInt32BE(0) === QCOW2_MAGIC && start.readUInt32BE(4) !== 1;

export async function readQcow2Header(reader: BoundedReader): Promise<Qcow2Header> {
  const { source } = reader;
  const fixed = await reader.read(0, V2_BYTES, 'header');
  const version = fixed.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw unsafe(source, `is qcow2 version ${version}, which is unknown`);
  const clusterBits = fixed.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) throw damaged(reader, `clusters of 2^${clusterBits} bytes`);
  const clusterBytes = 2 ** clusterBits;
  const more = version === 3 ? await readV3(reader, clusterBytes) : { incompatible: 0n, headerBytes: V2_BYTES };
  const backing = await readBacking(reader, fixed, clusterBytes);
  const extensions = await readExtensions(reader, more.headerBytes, Math.min(clusterBytes, backing.offset ?? Infinity));
  return {
    version,
    virtualSizeBytes: size(reader, fixed.readBigUInt64BE(24)),
    clusterBytes,
    backingFile: backing.name,
    encryption: fixed.readUInt32BE(32),
    l1Entries: fixed.readUInt32BE(36),
    l1Offset: offset(reader, fixed.readBigUInt64BE(40), clusterBytes, 'L1 table'),
    refcountOffset: offset(reader, fixed.readBigUInt64BE(48), clusterBytes, 'reference count table'),
    refcountClusters: fixed.readUInt32BE(56),
    snapshots: fixed.readUInt32BE(60),
    snapshotsOffset: offset(reader, fixed.readBigUInt64BE(64), 1, 'snapshot table'),
    incompatible: more.incompatible,
    extensions,
  };
}

export const damaged = (reader: BoundedReader, what: string): Error =>
  unsafe(reader.source, `is damaged: its header claims ${what}, which cannot be`, { problem: 'damaged' });

function size(reader: BoundedReader, bytes: bigint): number {
  if (bytes > BigInt(MAX_VIRTUAL_BYTES))
    throw unsafe(
      reader.source,
      `claims a virtual size of ${tebibytes(bytes)}; Berth takes disks of at most 64 TiB. If it is a real disk, shrink it where it was made.`,
      { problem: 'too-large' },
    );
  if (bytes === 0n) throw unsafe(reader.source, 'is an empty disk (virtual size 0)', { problem: 'empty' });
  return Number(bytes);
}

const tebibytes = (bytes: bigint): string =>
  bytes >= 1n << 50n ? `${bytes >> 50n} PiB` : `more than ${bytes >> 40n} TiB`;

/** Beyond 2^53 no file is; it says "truncated", which is what such an offset means. */
function offset(reader: BoundedReader, at: bigint, align: number, what: string): number {
  if (at % BigInt(align) !== 0n) throw damaged(reader, `a misplaced ${what}`);
  return at > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER - MAX_VIRTUAL_BYTES : Number(at);
}

async function readV3(
  reader: BoundedReader,
  clusterBytes: number,
): Promise<{ incompatible: bigint; headerBytes: number }> {
  const fixed = await reader.read(0, V3_BYTES, 'header');
  const headerBytes = fixed.readUInt32BE(100);
  if (headerBytes < V3_BYTES || headerBytes > clusterBytes || headerBytes % 8 !== 0)
    throw damaged(reader, `a header of ${headerBytes} bytes`);
  const refcountOrder = fixed.readUInt32BE(96);
  if (refcountOrder > 6) throw damaged(reader, `reference counts of 2^${refcountOrder} bits`);
  return { incompatible: fixed.readBigUInt64BE(72), headerBytes };
}

async function readBacking(
  reader: BoundedReader,
  fixed: Buffer,
  clusterBytes: number,
): Promise<{ name: string | undefined; offset: number | undefined }> {
  const at = fixed.readBigUInt64BE(8);
  if (at === 0n) return { name: undefined, offset: undefined };
  const length = fixed.readUInt32BE(16);
  if (length > MAX_BACKING_NAME_BYTES || at + BigInt(length) > BigInt(clusterBytes))
    throw damaged(reader, 'a backing file name outside the first cluster');
  const name = length === 0 ? Buffer.alloc(0) : await reader.read(Number(at), length, 'backing file name');
  return { name: printable(name), offset: Number(at) };
}

/** Type → content made printable. They end at type 0, at the backing file's name, or with the first cluster. */
async function readExtensions(reader: BoundedReader, start: number, end: number): Promise<ReadonlyMap<number, string>> {
  const found = new Map<number, string>();
  for (let at = start, n = 0; at + 8 <= end; n++) {
    if (n >= MAX_EXTENSIONS) throw damaged(reader, `more than ${MAX_EXTENSIONS} header extensions`);
    const head = await reader.peek(at, 8);
    // version 2 writers may end the file's header without an end mark
    if (head.length < 8) return found;
    const type = head.readUInt32BE(0);
    const length = head.readUInt32BE(4);
    if (type === 0) return found;
    if (at + 8 + length > end) throw damaged(reader, 'a header extension outside the first cluster');
    found.set(type, printable(await reader.read(at + 8, Math.min(length, 256), 'header')));
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}
