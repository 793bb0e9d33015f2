/** What kind of file this is, by its magic numbers. Our own few rules: QEMU's format probing is never used. No judgement here. */
import { isQcow2 } from './qcow2-header.ts';
import type { BoundedReader } from './source.ts';

export type FileKind =
  /** A disk in a container format. `label` is the format's name. */
  | { readonly kind: 'qcow2' }
  | { readonly kind: 'container'; readonly label: string; readonly qemuFormat: string }
  /** A raw disk with something we know at the usual place. */
  | { readonly kind: 'raw'; readonly label: string }
  | { readonly kind: 'encrypted'; readonly label: string }
  | { readonly kind: 'packed'; readonly label: string; readonly unpack: string }
  | { readonly kind: 'text' }
  | { readonly kind: 'empty' }
  | { readonly kind: 'zeros' }
  | { readonly kind: 'unknown' };

interface Magic {
  readonly at: number;
  readonly bytes: string;
}

const magic = (at: number, text: string): Magic => ({ at, bytes: text });
const START_BYTES = 128 * 1024;
const FOOTER_BYTES = 512;

const CONTAINERS: readonly (Magic & { label: string; qemuFormat: string })[] = [
  { ...magic(0, 'QFI\xfb'), label: 'a qcow (version 1) disk', qemuFormat: 'qcow' },
  { ...magic(0, 'QED\0'), label: 'a qed disk', qemuFormat: 'qed' },
  { ...magic(0, 'KDMV'), label: 'a vmdk disk', qemuFormat: 'vmdk' },
  { ...magic(0, 'COWD'), label: 'a vmdk disk', qemuFormat: 'vmdk' },
  { ...magic(0, '# Disk DescriptorFile'), label: 'a vmdk description', qemuFormat: 'vmdk' },
  { ...magic(0x40, '\x7f\x10\xda\xbe'), label: 'a vdi disk', qemuFormat: 'vdi' },
  { ...magic(0, 'vhdxfile'), label: 'a vhdx disk', qemuFormat: 'vhdx' },
  { ...magic(0, 'conectix'), label: 'a vpc (vhd) disk', qemuFormat: 'vpc' },
  { ...magic(0, 'WithoutFreeSpace'), label: 'a parallels disk', qemuFormat: 'parallels' },
  { ...magic(0, 'WithouFreSpacExt'), label: 'a parallels disk', qemuFormat: 'parallels' },
];

const FOOTERS: readonly (Magic & { label: string; qemuFormat: string })[] = [
  { ...magic(0, 'conectix'), label: 'a vpc (vhd) disk', qemuFormat: 'vpc' },
  { ...magic(0, 'koly'), label: 'a dmg disk', qemuFormat: 'dmg' },
];

const PACKED: readonly (Magic & { label: string; unpack: string })[] = [
  { ...magic(0, '\x1f\x8b'), label: 'compressed with gzip', unpack: 'gunzip' },
  { ...magic(0, '\xfd7zXZ\0'), label: 'compressed with xz', unpack: 'unxz' },
  { ...magic(0, '\x28\xb5\x2f\xfd'), label: 'compressed with zstd', unpack: 'unzstd' },
  { ...magic(0, 'BZh'), label: 'compressed with bzip2', unpack: 'bunzip2' },
  { ...magic(0, '\x04\x22\x4d\x18'), label: 'compressed with lz4', unpack: 'unlz4' },
  { ...magic(0, 'PK\x03\x04'), label: 'a zip archive', unpack: 'unzip' },
  { ...magic(0, '7z\xbc\xaf\x27\x1c'), label: 'a 7z archive', unpack: '7z x' },
  { ...magic(257, 'ustar'), label: 'a tar archive (an ova is one)', unpack: 'tar -xf' },
];

const RAW: readonly (Magic & { label: string })[] = [
  { ...magic(512, 'EFI PART'), label: 'GPT' },
  { ...magic(4096, 'EFI PART'), label: 'GPT' },
  { ...magic(0x8001, 'CD001'), label: 'ISO 9660' },
  { ...magic(0x8001, 'NSR0'), label: 'UDF' },
  { ...magic(0x438, '\x53\xef'), label: 'ext' },
  { ...magic(0, 'XFSB'), label: 'xfs' },
  { ...magic(0x10040, '_BHRfS_M'), label: 'btrfs' },
  { ...magic(0, 'hsqs'), label: 'squashfs' },
  { ...magic(512, 'LABELONE'), label: 'LVM' },
  { ...magic(4086, 'SWAPSPACE2'), label: 'swap' },
  { ...magic(1024, '\x10\x20\xf5\xf2'), label: 'f2fs' },
  { ...magic(1024, '\xe2\xe1\xf5\xe0'), label: 'erofs' },
];

const has = (bytes: Buffer, m: Magic): boolean =>
  bytes.subarray(m.at, m.at + m.bytes.length).equals(Buffer.from(m.bytes, 'latin1'));

export async function sniff(reader: BoundedReader): Promise<FileKind> {
  const size = reader.source.sizeBytes;
  if (size === 0) return { kind: 'empty' };
  const start = await reader.peek(0, START_BYTES);
  if (isQcow2(start)) return { kind: 'qcow2' };
  if (has(start, magic(0, 'LUKS\xba\xbe'))) return { kind: 'encrypted', label: 'LUKS' };
  const footer = await reader.peek(Math.max(0, size - FOOTER_BYTES), FOOTER_BYTES);
  const container = CONTAINERS.find((m) => has(start, m)) ?? FOOTERS.find((m) => has(footer, m));
  if (container) return { kind: 'container', label: container.label, qemuFormat: container.qemuFormat };
  const packed = PACKED.find((m) => has(start, m));
  if (packed) return { kind: 'packed', label: packed.label, unpack: packed.unpack };
  const raw = RAW.find((m) => has(start, m));
  if (raw) return { kind: 'raw', label: raw.label };
  if (hasBootSector(start)) return { kind: 'raw', label: 'MBR' };
  if (looksLikeText(start.subarray(0, 4_096))) return { kind: 'text' };
  return start.every((b) => b === 0) ? { kind: 'zeros' } : { kind: 'unknown' };
}

/** The signature alone stands in one of 65,536 random files: four sane partition entries, or a boot sector's jump, must go with it. */
function hasBootSector(start: Buffer): boolean {
  if (start.length < 512 || start.readUInt16LE(510) !== 0xaa55) return false;
  const statuses = [0, 1, 2, 3].map((i) => start[446 + 16 * i]);
  return statuses.every((s) => s === 0 || s === 0x80) || start[0] === 0xeb || start[0] === 0xe9;
}

function looksLikeText(bytes: Buffer): boolean {
  // the cut may fall into a character: leave up to three bytes out
  const text = bytes.toString('utf8').slice(0, bytes.length > 8 ? -3 : undefined);
  return bytes.length > 0 && !/[\u0000-\u0008\u000e-\u001a\u001c-\u001f\ufffd]/.test(text);
}
