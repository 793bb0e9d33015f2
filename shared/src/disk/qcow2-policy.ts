/** Which qcow2 headers are acceptable in an image from outside, and the words for those that are not. */
import { EXTENSION, INCOMPATIBLE, MAX_VIRTUAL_BYTES, damaged, type Qcow2Header } from './qcow2-header.ts';
import { unsafe, type BoundedReader } from './source.ts';

/** Bits that QEMU's reader handles and that keep nothing outside the file. `dirty` concerns reference counts, which a conversion never reads. */
const ACCEPTED = INCOMPATIBLE.dirty | INCOMPATIBLE.compression | INCOMPATIBLE.extendedL2;

const FLATTEN = 'An image must stand alone: flatten it where it was made, if you trust where it comes from.';

/** @throws UNSAFE_IMAGE */
export function checkStandsAlone(reader: BoundedReader, header: Qcow2Header): void {
  const { source } = reader;
  if (header.backingFile !== undefined)
    throw unsafe(source, `refers to another file (${header.backingFile}) as its backing file. ${FLATTEN}`, {
      problem: 'backing-file',
    });
  const dataFile = header.extensions.get(EXTENSION.dataFile);
  if (dataFile !== undefined || (header.incompatible & INCOMPATIBLE.dataFile) !== 0n)
    throw unsafe(source, `keeps its data in another file (${dataFile ?? 'not named'}). ${FLATTEN}`, {
      problem: 'data-file',
    });
  if (header.encryption !== 0 || header.extensions.has(EXTENSION.encryption))
    throw unsafe(source, 'is encrypted. Decrypt it first: qemu-img convert, with its secret, where it was made.', {
      problem: 'encrypted',
    });
  checkBits(reader, header);
}

function checkBits(reader: BoundedReader, header: Qcow2Header): void {
  if ((header.incompatible & INCOMPATIBLE.corrupt) !== 0n)
    throw unsafe(reader.source, 'is marked as corrupt. Repair it first: qemu-img check -r all.', {
      problem: 'corrupt',
    });
  const unknown = header.incompatible & ~(ACCEPTED | INCOMPATIBLE.dataFile | INCOMPATIBLE.corrupt);
  if (unknown !== 0n)
    throw unsafe(
      reader.source,
      `uses a qcow2 feature that Berth does not know (bits 0x${unknown.toString(16)}). Convert it: qemu-img convert -O qcow2.`,
      { problem: 'unknown-feature' },
    );
}

/** Sizes that no writer makes, before anything that big is read. */
export function checkTables(reader: BoundedReader, header: Qcow2Header): void {
  const entryBytes = (header.incompatible & INCOMPATIBLE.extendedL2) === 0n ? 8 : 16;
  const perL1Entry = header.clusterBytes * (header.clusterBytes / entryBytes);
  const needed = Math.ceil(header.virtualSizeBytes / perL1Entry);
  if (header.l1Entries < needed) throw damaged(reader, `an L1 table of ${header.l1Entries} entries for its size`);
  // a shrunk image may have more than it needs, but never more than the largest disk would
  const most = Math.max(1, Math.ceil(MAX_VIRTUAL_BYTES / perL1Entry));
  if (header.l1Entries > Math.min(most, MAX_L1_ENTRIES))
    throw damaged(reader, `an L1 table of ${header.l1Entries} entries`);
  if (header.refcountClusters * header.clusterBytes > MAX_REFCOUNT_TABLE_BYTES)
    throw damaged(reader, `a reference count table of ${header.refcountClusters} clusters`);
  if (header.snapshots > MAX_SNAPSHOTS) throw damaged(reader, `${header.snapshots} snapshots`);
}

/** QEMU's own limits. */
const MAX_L1_ENTRIES = (32 * 2 ** 20) / 8;
const MAX_REFCOUNT_TABLE_BYTES = 8 * 2 ** 20;
const MAX_SNAPSHOTS = 65_536;
