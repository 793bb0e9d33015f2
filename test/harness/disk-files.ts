/** Disk images made by tests, good ones and evil ones; no binaries in the repository. */

import { randomFillSync } from 'node:crypto';

const SECTOR = 512;

/** A raw disk with an MBR and one Linux partition. */
export function rawDisk(bytes: number): Buffer {
  const disk = Buffer.alloc(bytes);
  const entry = 446;
  disk[entry] = 0x80;
  disk[entry + 4] = 0x83;
  disk.writeUInt32LE(2048, entry + 8);
  disk.writeUInt32LE(bytes / SECTOR - 2048, entry + 12);
  disk.writeUInt16LE(0xaa55, 510);
  return disk;
}

/** The same, full of noise: nothing of it is a hole or can be made smaller. */
export function noisyDisk(bytes: number): Buffer {
  const disk = rawDisk(bytes);
  randomFillSync(disk, 4096);
  return disk;
}

export interface Qcow2Options {
  readonly virtualSizeBytes?: bigint;
  readonly backingFile?: string;
  readonly incompatibleFeatures?: bigint;
  readonly clusterBits?: number;
  readonly encryption?: number;
}

/** A qcow2 v3 header with an empty L1 table and refcounts: the least that is one, with what is asked for in it. */
export function qcow2(o: Qcow2Options = {}): Buffer {
  const clusterBits = o.clusterBits ?? 16;
  const cluster = 65_536;
  const file = Buffer.alloc(cluster * 4);
  file.write('QFI\xfb', 0, 'latin1');
  file.writeUInt32BE(3, 4);
  if (o.backingFile !== undefined) {
    file.writeBigUInt64BE(512n, 8);
    file.writeUInt32BE(o.backingFile.length, 16);
    file.write(o.backingFile, 512);
  }
  file.writeUInt32BE(clusterBits, 20);
  file.writeBigUInt64BE(o.virtualSizeBytes ?? 2n ** 20n, 24);
  file.writeUInt32BE(o.encryption ?? 0, 32);
  file.writeUInt32BE(1, 36); // L1 entries
  file.writeBigUInt64BE(BigInt(cluster * 3), 40); // L1 table
  file.writeBigUInt64BE(BigInt(cluster), 48); // refcount table
  file.writeUInt32BE(1, 56);
  file.writeBigUInt64BE(o.incompatibleFeatures ?? 0n, 72);
  file.writeUInt32BE(4, 96); // refcount order
  file.writeUInt32BE(104, 100); // header length
  file.writeBigUInt64BE(BigInt(cluster * 2), cluster); // first refcount block
  for (let i = 0; i < 4; i++) file.writeUInt16BE(1, cluster * 2 + i * 2);
  return file;
}
