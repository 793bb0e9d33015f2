/**
 * Guests of a boot sector, in 16-bit code; no tools are needed. A CD-ROM that installs something, in 43 KiB (El Torito, no emulation):
 * it says so on the serial port, writes a boot sector to the first disk, and reboots; what it wrote says on the serial port that the
 * disk has booted. And a disk that counts its boots, says so, and then writes to itself for ever.
 */

const SECTOR = 2048;
const CATALOG = 19;
const LOADER = 20;
/** Where a BIOS puts either boot sector. */
const ORIGIN = 0x7c00;

export const FROM_MEDIUM = 'berth-test: installs from the medium';
export const FROM_DISK = 'berth-test: boots from the disk';

/** An ISO 9660 image. */
export function installMedium(): Buffer {
  const iso = Buffer.alloc((LOADER + 1) * SECTOR);
  descriptor(iso, 16, 1);
  descriptor(iso, 17, 0);
  iso.write('EL TORITO SPECIFICATION', 17 * SECTOR + 7, 'latin1');
  iso.writeUInt32LE(CATALOG, 17 * SECTOR + 0x47);
  descriptor(iso, 18, 255);
  catalog().copy(iso, CATALOG * SECTOR);
  installer().copy(iso, LOADER * SECTOR);
  bootSector().copy(iso, LOADER * SECTOR + 512);
  return iso;
}

function descriptor(iso: Buffer, sector: number, type: number): void {
  iso.writeUInt8(type, sector * SECTOR);
  iso.write('CD001\x01', sector * SECTOR + 1, 'latin1');
}

/** A validation entry, whose words come to 0, and the one that is booted: four sectors of 512 bytes. */
function catalog(): Buffer {
  const entries = Buffer.alloc(64);
  entries.writeUInt8(1, 0);
  entries.writeUInt16LE(0x55aa, 28);
  entries.writeUInt16LE(0xaa55, 30);
  entries.writeUInt8(0x88, 32);
  entries.writeUInt16LE(4, 32 + 6);
  entries.writeUInt32LE(LOADER, 32 + 8);
  return entries;
}

const STACK_AND_SEGMENTS = [0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c]; // ax ds es ss = 0, sp
/** mov dx,3f8; next: lodsb; test al,al; jz end; out dx,al; jmp next; end: */
const PRINT = [0xba, 0xf8, 0x03, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8];
/** int 13 with ax = 02.. or 03.. (read, write), one sector of the first disk, from or to 0000:7e00. */
const sector = (ah: number, number: number): number[] => [
  ...[0xb8, 0x01, ah, 0xbb, 0x00, 0x7e, 0xb9, number, 0x00, 0xba, 0x80, 0x00, 0xcd, 0x13],
];
const READ = 0x02;
const WRITE_TO = 0x03;
/** What lies behind the sector that runs becomes the disk's first. */
const WRITE = sector(WRITE_TO, 1);
const REBOOT = [0xea, 0x00, 0x00, 0xff, 0xff]; // jmp ffff:0
const HALT = [0xf4, 0xeb, 0xfd]; // again: hlt; jmp again

const installer = (): Buffer => saying(FROM_MEDIUM, [...WRITE, ...REBOOT]);

const bootSector = (): Buffer => bootable(saying(FROM_DISK, HALT));

function bootable(code: Buffer): Buffer {
  const sector = Buffer.alloc(512);
  code.copy(sector);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

/** Where a counting disk has its counter, little-endian, 32 bits: its third sector. All behind that sector stays as it is. */
export const COUNTER_BYTE = 1024;
export const COUNTED_BYTES = 1536;
/** inc byte [7e00]; mov si,7e00: the text of the second sector, whose first character is a figure. */
const COUNT_BOOT = [...sector(READ, 2), 0xfe, 0x06, 0x00, 0x7e, ...sector(WRITE_TO, 2), 0xbe, 0x00, 0x7e];
/** again: hlt, until the clock ticks; inc dword [7e00]; write; jmp again */
const TICK = [0xf4, 0x66, 0xff, 0x06, 0x00, 0x7e, ...sector(WRITE_TO, 3)];
const KEEP_COUNTING = [...sector(READ, 3), ...TICK, 0xeb, 256 - TICK.length - 2];

/** A raw disk of so many bytes that says `<n> boots from the disk` (n up to 9), and then counts in its third sector, 18 times a second at most. */
export function countingDisk(sizeBytes: number): Buffer {
  const disk = Buffer.alloc(sizeBytes, 'berth ');
  bootable(Buffer.from([...STACK_AND_SEGMENTS, ...COUNT_BOOT, ...PRINT, ...KEEP_COUNTING])).copy(disk);
  disk.fill(0, 512, COUNTED_BYTES);
  disk.write('0 boots from the disk\r\n', 512, 'latin1');
  return disk;
}

function saying(text: string, then: readonly number[]): Buffer {
  const code = (at: number): number[] => [...STACK_AND_SEGMENTS, 0xbe, at & 0xff, at >> 8, ...PRINT, ...then]; // mov si,at
  return Buffer.concat([Buffer.from(code(ORIGIN + code(0).length)), Buffer.from(`${text}\r\n\0`, 'latin1')]);
}
