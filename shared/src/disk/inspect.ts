/**
 * The first look at a disk image that somebody uploaded: what it is, how large, and whether it is safe to give to QEMU's
 * tools. Bounded in bytes and time; fails with UNSAFE_IMAGE in words for people, never otherwise. Converting is the agent's.
 */
import { invalidArgument } from '../errors/cluster-error.ts';
import { CONTAINER_FORMATS, inspectContainer, type ContainerFormat } from './containers.ts';
import { checkPartitions } from './raw.ts';
import { isQcow2, MAX_VIRTUAL_BYTES, readQcow2Header, type Qcow2Header } from './qcow2-header.ts';
import { checkStandsAlone, checkTables } from './qcow2-policy.ts';
import { checkData } from './qcow2-tables.ts';
import { sniff, type FileKind } from './sniff.ts';
import { BoundedReader, unsafe, type DiskSource } from './source.ts';

export interface InspectedImage {
  /** To be given to qemu-img; nothing is ever probed. */
  readonly format: 'qcow2' | 'raw' | ContainerFormat;
  readonly virtualSizeBytes: number;
  /** Internal snapshots that a conversion drops. */
  readonly snapshots: number;
  /** A CD-ROM's: something to boot from or read, not to make disks of. */
  readonly medium?: true;
}

const SECTOR = 512;
/** Where those of a CD-ROM begin: the first sixteen sectors of 2 KiB are the boot loader's. */
const VOLUME_DESCRIPTORS = 0x8000;
const KNOWN =
  'Known: qcow2, vmdk, vdi, vhdx, vpc, raw with a partition table or file system. ' +
  'A raw image without either can be imported with --format raw.';

/** @param format empty: find out; `raw`: accept without partition table; another: nothing else will do. */
export async function inspectDiskImage(source: DiskSource, format: string): Promise<InspectedImage> {
  if (!['', 'raw', 'qcow2', ...CONTAINER_FORMATS].includes(format))
    throw invalidArgument(`${JSON.stringify(format.slice(0, 40))} is no format of images that Berth knows. ${KNOWN}`);
  const reader = new BoundedReader(source);
  const found = await sniff(reader);
  if (found.kind === 'qcow2' && ['', 'qcow2'].includes(format)) return inspectQcow2(reader);
  if (found.kind === 'container' && isContainer(found.qemuFormat) && ['', found.qemuFormat].includes(format))
    return {
      format: found.qemuFormat,
      virtualSizeBytes: await inspectContainer(reader, found.qemuFormat),
      snapshots: 0,
    };
  if (format !== '' && format !== 'raw') throw unsafe(source, `is not a ${format} image (it ${describe(found)})`);
  refuse(source, found, format === 'raw');
  if (format === '' && found.kind === 'raw') await checkPartitions(reader, found.label);
  if (source.sizeBytes > MAX_VIRTUAL_BYTES) throw unsafe(source, 'is larger than 64 TiB, the most that Berth takes');
  return {
    format: 'raw',
    virtualSizeBytes: Math.ceil(source.sizeBytes / SECTOR) * SECTOR,
    snapshots: 0,
    ...((await isMedium(reader)) && { medium: true }),
  };
}

const isContainer = (format: string): format is ContainerFormat => CONTAINER_FORMATS.includes(format);

/** ISO 9660 or UDF. Most can be written to a USB stick too, and have a partition table before that. */
async function isMedium(reader: BoundedReader): Promise<boolean> {
  if (reader.source.sizeBytes < VOLUME_DESCRIPTORS + 6) return false;
  const id = (await reader.peek(VOLUME_DESCRIPTORS + 1, 5)).toString('latin1');
  return id === 'CD001' || id === 'BEA01' || id.startsWith('NSR0');
}

/** Only the header: for files that Berth made itself, where a backing file is as it should be. */
export async function readOwnQcow2(source: DiskSource): Promise<Qcow2Header> {
  const reader = new BoundedReader(source);
  if (!isQcow2(await reader.peek(0, 8))) throw unsafe(source, 'is not a qcow2 file');
  return readQcow2Header(reader);
}

/**
 * An overlay that was made on this host, and written to by a guest since. @param base path of its image; undefined: none
 * @throws UNSAFE_IMAGE when it refers to anything else
 */
export async function inspectOverlay(source: DiskSource, base: string | undefined): Promise<InspectedImage> {
  const reader = new BoundedReader(source);
  if (!isQcow2(await reader.peek(0, 8))) throw unsafe(source, 'is not a qcow2 file');
  const { backingFile, ...header } = await readQcow2Header(reader);
  const other = backingFile === base ? undefined : (backingFile ?? 'nothing');
  checkStandsAlone(reader, { ...header, backingFile: other });
  checkTables(reader, { ...header, backingFile });
  await checkData(reader, { ...header, backingFile });
  return { format: 'qcow2', virtualSizeBytes: header.virtualSizeBytes, snapshots: header.snapshots };
}

async function inspectQcow2(reader: BoundedReader): Promise<InspectedImage> {
  const header = await readQcow2Header(reader);
  checkStandsAlone(reader, header);
  checkTables(reader, header);
  await checkData(reader, header);
  return { format: 'qcow2', virtualSizeBytes: header.virtualSizeBytes, snapshots: header.snapshots };
}

/** What is no disk we take. With --format raw a container or an archive is still refused: as a disk it would boot nowhere. */
function refuse(source: DiskSource, found: FileKind, forced: boolean): void {
  switch (found.kind) {
    case 'empty':
      throw unsafe(source, 'is empty (0 bytes)');
    case 'qcow2':
      throw unsafe(source, 'is a qcow2 image: leave --format raw out');
    case 'container':
      throw unsafe(
        source,
        isContainer(found.qemuFormat)
          ? `is ${found.label}: leave --format raw out`
          : `is ${found.label}. Convert it first: qemu-img convert -f ${found.qemuFormat} -O qcow2 FILE NEW.`,
      );
    case 'encrypted':
      throw unsafe(source, `is encrypted (${found.label}). Decrypt it first, where it was made.`);
    case 'packed':
      throw unsafe(source, `is ${found.label}. Unpack it first: ${found.unpack}.`);
    case 'text':
    case 'zeros':
    case 'unknown':
      if (!forced) throw unsafe(source, `is not a disk image (it ${describe(found)}). ${KNOWN}`);
  }
}

function describe(found: FileKind): string {
  if (found.kind === 'text') return 'looks like text';
  if (found.kind === 'zeros') return 'begins with zeros only';
  if (found.kind === 'empty') return 'is empty';
  if (found.kind === 'raw') return `looks like a raw disk with ${found.label}`;
  if (found.kind === 'unknown') return 'has neither a known header nor a partition table';
  return found.kind === 'qcow2' ? 'is qcow2' : `is ${found.label}`;
}
