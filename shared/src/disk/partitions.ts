/** Where the partitions of a disk end, from its first sectors. For who wants to cut a disk; nothing is checked that is not needed for that. Pure. */

const SECTOR = 512;
const PROTECTIVE = 0xee;
const ENTRY_BYTES = 128;

export interface PartitionsEnd {
  /** 0: no partitions. Infinity: there is a table, and it cannot be read. */
  readonly endBytes: number;
  /** With a copy of its table at the end of the disk. */
  readonly gpt: boolean;
}

/** @param start the first 34 sectors: MBR, GPT header, and 128 entries. */
export function partitionsEnd(start: Buffer): PartitionsEnd {
  if (start.length >= 2 * SECTOR && start.toString('latin1', SECTOR, SECTOR + 8) === 'EFI PART')
    return { endBytes: gptEnd(start), gpt: true };
  if (start.length < SECTOR || start.readUInt16LE(510) !== 0xaa55) return { endBytes: 0, gpt: false };
  const entries = [446, 462, 478, 494];
  // code where entries would be: the boot sector of a file system, which has the whole disk
  if (!entries.every((i) => start[i] === 0 || start[i] === 0x80)) return { endBytes: Infinity, gpt: false };
  const ends = entries
    .filter((i) => start[i + 4] !== 0 && start[i + 4] !== PROTECTIVE)
    .map((i) => (start.readUInt32LE(i + 8) + start.readUInt32LE(i + 12)) * SECTOR);
  return { endBytes: Math.max(0, ...ends), gpt: false };
}

function gptEnd(start: Buffer): number {
  const at = Number(start.readBigUInt64LE(SECTOR + 72)) * SECTOR;
  const [count, size] = [start.readUInt32LE(SECTOR + 80), start.readUInt32LE(SECTOR + 84)];
  if (size !== ENTRY_BYTES || count > 128 || at + count * size > start.length) return Infinity;
  let end = 0;
  for (let i = 0; i < count; i++) {
    const entry = start.subarray(at + i * size, at + (i + 1) * size);
    if (entry.subarray(0, 16).every((b) => b === 0)) continue;
    end = Math.max(end, (Number(entry.readBigUInt64LE(40)) + 1) * SECTOR);
  }
  return end;
}
