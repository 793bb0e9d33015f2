/** A raw disk's partition table against the file's size: the one way to see that a raw image was cut short. */
import { truncated, type BoundedReader } from './source.ts';

const SECTOR = 512;
const PROTECTIVE = 0xee;

/** @throws UNSAFE_IMAGE when a partition, or the table's own copy at the end, lies beyond the end of the file. */
export async function checkPartitions(reader: BoundedReader, label: string): Promise<void> {
  const start = await reader.peek(0, 2 * SECTOR);
  if (label === 'GPT' && start.subarray(SECTOR, SECTOR + 8).toString('latin1') === 'EFI PART') {
    const backup = start.readBigUInt64LE(SECTOR + 32);
    if ((backup + 1n) * BigInt(SECTOR) > BigInt(reader.source.sizeBytes))
      throw truncated(reader.source, 'second partition table');
  }
  if (label !== 'MBR') return;
  for (let i = 446; i < 510; i += 16) {
    const type = start[i + 4];
    const end = (start.readUInt32LE(i + 8) + start.readUInt32LE(i + 12)) * SECTOR;
    if (type !== 0 && type !== PROTECTIVE && isPartitionTable(start) && end > reader.source.sizeBytes)
      throw truncated(reader.source, `partition ${(i - 446) / 16 + 1}`);
  }
}

/** A file system's boot sector carries the same signature, with code where the entries would be. */
const isPartitionTable = (start: Buffer): boolean =>
  [446, 462, 478, 494].every((i) => start[i] === 0 || start[i] === 0x80);
