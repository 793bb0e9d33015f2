/**
 * A CD-ROM that installs something, in 43 KiB: it says so on the serial port, writes a boot sector to the first disk, and reboots;
 * what it wrote says on the serial port that the disk has booted. El Torito, no emulation, 16-bit code; no tools are needed.
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
/** mov ax,0301; mov bx,7e00; mov cx,1; mov dx,80; int 13: what lies behind this sector becomes the disk's first. */
const WRITE = [0xb8, 0x01, 0x03, 0xbb, 0x00, 0x7e, 0xb9, 0x01, 0x00, 0xba, 0x80, 0x00, 0xcd, 0x13];
const REBOOT = [0xea, 0x00, 0x00, 0xff, 0xff]; // jmp ffff:0
const HALT = [0xf4, 0xeb, 0xfd]; // again: hlt; jmp again

const installer = (): Buffer => saying(FROM_MEDIUM, [...WRITE, ...REBOOT]);

function bootSector(): Buffer {
  const sector = Buffer.alloc(512);
  saying(FROM_DISK, HALT).copy(sector);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

function saying(text: string, then: readonly number[]): Buffer {
  const code = (at: number): number[] => [...STACK_AND_SEGMENTS, 0xbe, at & 0xff, at >> 8, ...PRINT, ...then]; // mov si,at
  return Buffer.concat([Buffer.from(code(ORIGIN + code(0).length)), Buffer.from(`${text}\r\n\0`, 'latin1')]);
}
