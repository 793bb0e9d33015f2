/** A small raw disk with a partition table: enough for simulated hosts, which check images as real ones do. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Place } from './state.ts';

export function writeSimulatedImage({ stateDir }: Place): string {
  const disk = Buffer.alloc(4 * 2 ** 20);
  const ENTRY = 446;
  disk[ENTRY] = 0x80; // bootable
  disk[ENTRY + 4] = 0x83; // Linux
  disk.writeUInt32LE(2048, ENTRY + 8); // first sector
  disk.writeUInt32LE(disk.length / 512 - 2048, ENTRY + 12);
  disk.writeUInt16LE(0xaa55, 510);
  const file = join(stateDir, 'base.img');
  writeFileSync(file, disk);
  return file;
}
