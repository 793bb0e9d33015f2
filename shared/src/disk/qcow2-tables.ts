/**
 * Walks a qcow2 file's L1 and L2 tables to see that what they point at is in the file: that is how a truncated image is
 * recognised before it is converted. Reads every L2 table within the reader's budget, otherwise an even sample that holds
 * the last one. Never reads guest data.
 */
import { INCOMPATIBLE, type Qcow2Header } from './qcow2-header.ts';
import { MAX_READ_BYTES, truncated, unsafe, type BoundedReader } from './source.ts';

const HIGH_OFFSET = 0x00ffffff;
const LOW_OFFSET = 0xfffffe00;
const COMPRESSED = 0x40000000;
const ZERO = 1;
const SECTOR = 512;
/** Kept back for what comes after the walk. */
const RESERVE_BYTES = 2 ** 20;

export async function checkData(reader: BoundedReader, header: Qcow2Header): Promise<void> {
  const { refcountOffset, refcountClusters, clusterBytes, source } = { ...header, source: reader.source };
  if (!reader.holds(header.l1Offset, header.l1Entries * 8)) throw truncated(source, 'L1 table');
  if (!reader.holds(refcountOffset, refcountClusters * clusterBytes)) throw truncated(source, 'reference count table');
  if (header.snapshots > 0 && !reader.holds(header.snapshotsOffset, 40)) throw truncated(source, 'snapshot table');
  const tables = await readL1(reader, header);
  const affordable = Math.floor((reader.bytesLeft - RESERVE_BYTES) / clusterBytes);
  const step = Math.max(1, Math.ceil(tables.length / Math.max(1, affordable)));
  for (let i = tables.length - 1; i >= 0; i -= step) await checkL2(reader, header, tables[i] as Table);
}

interface Table {
  /** Guest offset of its first cluster. */
  readonly guest: number;
  readonly offset: number;
}

/** The L2 tables that exist, each checked to be in the file. */
async function readL1(reader: BoundedReader, header: Qcow2Header): Promise<readonly Table[]> {
  const perTable = header.clusterBytes * entriesOf(header);
  const tables: Table[] = [];
  const bytes = Math.min(header.l1Entries, Math.ceil(header.virtualSizeBytes / perTable)) * 8;
  for (let at = 0; at < bytes; at += MAX_READ_BYTES) {
    const part = await reader.read(header.l1Offset + at, Math.min(MAX_READ_BYTES, bytes - at), 'L1 table');
    for (let i = 0; i < part.length; i += 8) {
      const offset = hostOffset(part, i);
      if (offset === 0) continue;
      if (offset % header.clusterBytes !== 0) throw misplaced(reader, 'L2 table');
      if (!reader.holds(offset, header.clusterBytes)) throw truncated(reader.source, 'L2 table');
      tables.push({ guest: ((at + i) / 8) * perTable, offset });
    }
  }
  return tables;
}

const isExtended = (header: Qcow2Header): boolean => (header.incompatible & INCOMPATIBLE.extendedL2) !== 0n;
const entriesOf = (header: Qcow2Header): number => header.clusterBytes / (isExtended(header) ? 16 : 8);

async function checkL2(reader: BoundedReader, header: Qcow2Header, table: Table): Promise<void> {
  const extended = isExtended(header);
  const entryBytes = extended ? 16 : 8;
  const bytes = await reader.read(table.offset, header.clusterBytes, 'L2 table');
  for (let i = 0; i < bytes.length; i += entryBytes) {
    const guest = table.guest + (i / entryBytes) * header.clusterBytes;
    if (guest >= header.virtualSizeBytes) return;
    const high = bytes.readUInt32BE(i);
    if ((high & COMPRESSED) !== 0) checkCompressed(reader, header, high, bytes.readUInt32BE(i + 4));
    else if (extended && bytes.readUInt32BE(i + 12) === 0) continue;
    else if (!extended && header.version === 3 && (bytes.readUInt32BE(i + 4) & ZERO) !== 0) continue;
    else checkCluster(reader, header, hostOffset(bytes, i), guest);
  }
}

/** @param at its place in the file. @param guest its place on the disk. */
function checkCluster(reader: BoundedReader, header: Qcow2Header, at: number, guest: number): void {
  if (at === 0) return;
  if (at % header.clusterBytes !== 0) throw misplaced(reader, 'data');
  // the file may end inside the cluster in which the disk ends, and after the last subcluster in use
  const inDisk = Math.min(header.clusterBytes, header.virtualSizeBytes - guest);
  const needed = isExtended(header) ? 1 : Math.ceil(inDisk / SECTOR) * SECTOR;
  if (!reader.holds(at, needed)) throw truncated(reader.source, 'data');
}

/** The entry holds the offset in its low bits and the number of further sectors above them. */
function checkCompressed(reader: BoundedReader, header: Qcow2Header, high: number, low: number): void {
  const offsetBits = 62 - (Math.log2(header.clusterBytes) - 8);
  const offset = (high & (2 ** (offsetBits - 32) - 1)) * 2 ** 32 + low;
  const sectors = (high & 0x3fffffff) >>> (offsetBits - 32);
  if (!reader.holds(Math.floor(offset / SECTOR) * SECTOR, (sectors + 1) * SECTOR))
    throw truncated(reader.source, 'compressed data');
}

/** Bits 9 to 55 of an entry, in halves because a number holds only 53 bits exactly. */
function hostOffset(bytes: Buffer, at: number): number {
  const high = bytes.readUInt32BE(at) & HIGH_OFFSET;
  return high * 2 ** 32 + ((bytes.readUInt32BE(at + 4) & LOW_OFFSET) >>> 0);
}

const misplaced = (reader: BoundedReader, what: string): Error =>
  unsafe(reader.source, `is damaged: a table points at ${what} between two clusters`, { problem: 'damaged' });
