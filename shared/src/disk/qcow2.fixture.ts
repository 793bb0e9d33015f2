/** Makes small qcow2 files in memory, byte by byte, so that tests can spoil them precisely. For tests only. */
import type { DiskSource } from './source.ts';

export interface Qcow2Parts {
  version?: 2 | 3;
  clusterBits?: number;
  sizeBytes?: bigint;
  backingFile?: string;
  encryption?: number;
  l1Entries?: number;
  incompatible?: bigint;
  refcountOrder?: number;
  snapshots?: number;
  extensions?: readonly (readonly [type: number, data: string])[];
  /** Guest clusters 0, 1, … that hold data. */
  dataClusters?: number;
}

export const CLUSTER = 65_536;
/** header, refcount table, refcount block, L1, L2, then data */
export const L1_AT = 3 * CLUSTER;
export const L2_AT = 4 * CLUSTER;
export const DATA_AT = 5 * CLUSTER;

const DEFAULTS = {
  version: 3,
  clusterBits: 16,
  sizeBytes: 10n * 2n ** 20n,
  encryption: 0,
  l1Entries: 1,
  incompatible: 0n,
  refcountOrder: 4,
  snapshots: 0,
  extensions: [],
  dataClusters: 2,
} as const;

export function makeQcow2(given: Qcow2Parts = {}): Buffer {
  const parts = { ...DEFAULTS, ...given };
  const clusters = parts.dataClusters;
  const file = Buffer.alloc(DATA_AT + clusters * CLUSTER);
  file.write('QFI\xfb', 0, 'latin1');
  file.writeUInt32BE(parts.version, 4);
  file.writeUInt32BE(parts.clusterBits, 20);
  file.writeBigUInt64BE(parts.sizeBytes, 24);
  file.writeUInt32BE(parts.encryption, 32);
  file.writeUInt32BE(parts.l1Entries, 36);
  file.writeBigUInt64BE(BigInt(L1_AT), 40);
  file.writeBigUInt64BE(BigInt(CLUSTER), 48);
  file.writeUInt32BE(1, 56);
  file.writeUInt32BE(parts.snapshots, 60);
  if (parts.version !== 2) {
    file.writeBigUInt64BE(parts.incompatible, 72);
    file.writeUInt32BE(parts.refcountOrder, 96);
    file.writeUInt32BE(104, 100);
  }
  let at = parts.version === 2 ? 72 : 104;
  for (const [type, data] of parts.extensions) {
    file.writeUInt32BE(type, at);
    file.writeUInt32BE(data.length, at + 4);
    file.write(data, at + 8);
    at += 8 + Math.ceil(data.length / 8) * 8;
  }
  if (given.backingFile !== undefined) {
    file.writeBigUInt64BE(1024n, 8);
    file.writeUInt32BE(given.backingFile.length, 16);
    file.write(given.backingFile, 1024);
  }
  file.writeBigUInt64BE((1n << 63n) | BigInt(L2_AT), L1_AT);
  for (let i = 0; i < clusters; i++) file.writeBigUInt64BE((1n << 63n) | BigInt(DATA_AT + i * CLUSTER), L2_AT + 8 * i);
  return file;
}

export interface CountingSource extends DiskSource {
  readBytes: number;
  largestRead: number;
}

export function sourceOf(bytes: Uint8Array, name = 'disk.img'): CountingSource {
  return {
    name,
    sizeBytes: bytes.length,
    readBytes: 0,
    largestRead: 0,
    async read(offset, length) {
      this.readBytes += length;
      this.largestRead = Math.max(this.largestRead, length);
      return bytes.subarray(offset, offset + length);
    },
  };
}
