/**
 * The bytes of an empty qcow2 (version 3, 64 KiB clusters), blank or over a backing file, as `qemu-img create` makes it: a
 * header, a refcount table and block, an L1 table of zeros. Pure. Making 20 disks starts no process this way. Source of the
 * layout: docs/interop/qcow2.txt of QEMU.
 */

const CLUSTER_BITS = 16;
const CLUSTER = 2 ** CLUSTER_BITS;
const HEADER_BYTES = 104;
/** An L2 table has CLUSTER / 8 entries of one cluster each: 512 MiB of disk. */
const BYTES_PER_L1_ENTRY = (CLUSTER / 8) * CLUSTER;
/** Header extension: name of the backing file's format. */
const BACKING_FORMAT = 0xe2792aca;

const HEADER_CLUSTER = 0;
const REFCOUNT_TABLE_CLUSTER = 1;
const REFCOUNT_BLOCK_CLUSTER = 2;
const L1_CLUSTER = 3;

/**
 * @param sizeBytes of the disk: a positive multiple of 512, at most 64 TiB.
 * @param backingFile absolute path of a qcow2 file, of at most 1023 bytes.
 */
export function emptyQcow2(sizeBytes: number, backingFile?: string): Buffer {
  const l1Entries = Math.ceil(sizeBytes / BYTES_PER_L1_ENTRY);
  const l1Clusters = Math.ceil((l1Entries * 8) / CLUSTER);
  const clusters = L1_CLUSTER + l1Clusters;
  const file = Buffer.alloc(clusters * CLUSTER);
  header(file, sizeBytes, l1Entries);
  if (backingFile !== undefined) backing(file, backingFile);
  file.writeBigUInt64BE(BigInt(REFCOUNT_BLOCK_CLUSTER * CLUSTER), REFCOUNT_TABLE_CLUSTER * CLUSTER);
  for (let i = 0; i < clusters; i++) file.writeUInt16BE(1, REFCOUNT_BLOCK_CLUSTER * CLUSTER + 2 * i);
  return file;
}

function header(file: Buffer, sizeBytes: number, l1Entries: number): void {
  const at = HEADER_CLUSTER * CLUSTER;
  file.write('QFI\xfb', at, 'latin1');
  file.writeUInt32BE(3, at + 4);
  file.writeUInt32BE(CLUSTER_BITS, at + 20);
  file.writeBigUInt64BE(BigInt(sizeBytes), at + 24);
  file.writeUInt32BE(l1Entries, at + 36);
  file.writeBigUInt64BE(BigInt(L1_CLUSTER * CLUSTER), at + 40);
  file.writeBigUInt64BE(BigInt(REFCOUNT_TABLE_CLUSTER * CLUSTER), at + 48);
  file.writeUInt32BE(1, at + 56); // clusters of the refcount table
  file.writeUInt32BE(4, at + 96); // refcounts of 16 bits
  file.writeUInt32BE(HEADER_BYTES, at + 100);
}

/** Stating the format keeps QEMU from guessing it by the content. */
function backing(file: Buffer, path: string): void {
  const format = 'qcow2';
  file.writeUInt32BE(BACKING_FORMAT, HEADER_BYTES);
  file.writeUInt32BE(format.length, HEADER_BYTES + 4);
  file.write(format, HEADER_BYTES + 8, 'latin1');
  const end = HEADER_BYTES + 8 + 8 + 8; // the format, padded, and an empty extension that ends the list
  file.writeBigUInt64BE(BigInt(end), 8);
  file.writeUInt32BE(Buffer.byteLength(path), 16);
  file.write(path, end);
}
