/**
 * Disks of other virtualisers: VMDK, VDI, VHDX and VHD. Only their headers, as far as they decide whether the file stands alone:
 * what names another file (extents, parents) is refused here, before QEMU's drivers, which would follow it, see the file.
 */
import { MAX_VIRTUAL_BYTES } from './qcow2-header.ts';
import { printable, unsafe, type BoundedReader } from './source.ts';

export type ContainerFormat = 'vmdk' | 'vdi' | 'vhdx' | 'vpc';
export const CONTAINER_FORMATS: readonly string[] = ['vmdk', 'vdi', 'vhdx', 'vpc'];

const SECTOR = 512;
const FLATTEN = 'An image must stand alone: export it whole where it was made, if you trust where it comes from.';

/** @returns the size of the disk in it. @throws UNSAFE_IMAGE */
export async function inspectContainer(reader: BoundedReader, format: ContainerFormat): Promise<number> {
  const inspect = { vmdk: inspectVmdk, vdi: inspectVdi, vhdx: inspectVhdx, vpc: inspectVpc }[format];
  const sizeBytes = Math.ceil((await inspect(reader)) / SECTOR) * SECTOR;
  if (sizeBytes === 0) throw unsafe(reader.source, 'is an empty disk');
  if (!(sizeBytes <= MAX_VIRTUAL_BYTES))
    throw unsafe(reader.source, 'is larger than 64 TiB, the most that Berth takes');
  return sizeBytes;
}

const said = (text: string): string => printable(Buffer.from(text, 'latin1'));
const small = (n: bigint): number => (n > 2n ** 52n ? Infinity : Number(n));
const damaged = (reader: BoundedReader, what: string): Error => unsafe(reader.source, `is damaged: it has ${what}`);
const parent = (reader: BoundedReader, what: string): Error =>
  unsafe(reader.source, `holds only what differs from another disk (${what}). ${FLATTEN}`, { problem: 'parent' });

/** Where QEMU looks for the description, whatever the header says, and how much of it. */
const VMDK_DESCRIPTION_AT = SECTOR;
const VMDK_DESCRIPTION_BYTES = 20 * SECTOR;
/** In the place of where its grains are listed: the footer says it, which one sector follows. */
const VMDK_GRAINS_AT_END = 2n ** 64n - 1n;
const VMDK_FOOTER_FROM_END = 2 * SECTOR;
const VMDK_TYPES: readonly string[] = ['monolithicSparse', 'streamOptimized'];
const LONGEST_DESCRIPTION = 256 * 1024;

async function inspectVmdk(reader: BoundedReader): Promise<number> {
  const { source } = reader;
  const start = await reader.peek(0, SECTOR);
  if (start.subarray(0, 4).toString('latin1') !== 'KDMV')
    throw unsafe(source, `is a vmdk that keeps its data in other files. ${FLATTEN}`, { problem: 'extents' });
  const header = await reader.read(0, SECTOR, 'header');
  const version = header.readUInt32LE(4);
  if (version < 1 || version > 3) throw damaged(reader, `version ${version} of vmdk, which is unknown`);
  const sectors = small(header.readBigUInt64LE(12));
  // QEMU takes one without a size for a list of other files
  if (sectors === 0) throw unsafe(source, `is a vmdk that keeps its data in other files. ${FLATTEN}`);
  if (header.readBigUInt64LE(56) === VMDK_GRAINS_AT_END) await checkVmdkFooter(reader, header);
  const at = small(header.readBigUInt64LE(28)) * SECTOR;
  const length = Math.min(LONGEST_DESCRIPTION, small(header.readBigUInt64LE(36)) * SECTOR);
  const text = await textAt(reader, at, length);
  const seen = await textAt(reader, VMDK_DESCRIPTION_AT, VMDK_DESCRIPTION_BYTES);
  checkVmdkText(reader, text, seen);
  return sectors * SECTOR;
}

/** Of one that was written in a single run: QEMU believes the copy of the header at the end, its size included. */
async function checkVmdkFooter(reader: BoundedReader, header: Buffer): Promise<void> {
  const at = reader.source.sizeBytes - VMDK_FOOTER_FROM_END;
  const footer = await reader.read(Math.max(0, at), SECTOR, 'footer');
  if (footer.subarray(0, 4).toString('latin1') !== 'KDMV') throw damaged(reader, 'no footer');
  if (footer.readBigUInt64LE(12) !== header.readBigUInt64LE(12))
    throw damaged(reader, 'another size in its footer than in its header');
}

const textAt = async (reader: BoundedReader, at: number, length: number): Promise<string> =>
  Number.isFinite(at) && at > 0 && length > 0 ? (await reader.peek(at, length)).toString('latin1') : '';

function checkVmdkText(reader: BoundedReader, text: string, seen: string): void {
  const { source } = reader;
  const hint = /parentFileNameHint\s*=\s*"?([^"\r\n]*)/i.exec(text + seen);
  if (hint || /parentFileNameHint/i.test(text + seen)) throw parent(reader, said((hint?.[1] ?? '').slice(0, 200)));
  const cid = /parentCID\s*=\s*([0-9a-f]+)/i.exec(text)?.[1]?.toLowerCase();
  if (cid !== undefined && cid !== 'ffffffff') throw parent(reader, `parent ${cid}`);
  const type = /createType\s*=\s*"([^"]*)"/i.exec(text)?.[1];
  if (type !== undefined && !VMDK_TYPES.includes(type))
    throw unsafe(
      source,
      `is a vmdk of the type ${said(type.slice(0, 40))}; only ${VMDK_TYPES.join(' and ')} stand alone`,
    );
  const extents = text.match(/^[ \t]*(RW|RDONLY|NOACCESS)[ \t]+\d+[ \t]+\w+/gim) ?? [];
  if (extents.length > 1 || extents.some((e) => !/SPARSE$/i.test(e)))
    throw unsafe(source, `is a vmdk that keeps its data in other files. ${FLATTEN}`, { problem: 'extents' });
}

const VDI = { signature: 0xbeda107f, version: 0x00010001, dynamic: 1, fixed: 2, blockBytes: 2 ** 20 } as const;

async function inspectVdi(reader: BoundedReader): Promise<number> {
  const header = await reader.read(0, SECTOR, 'header');
  if (header.readUInt32LE(0x40) !== VDI.signature) throw unsafe(reader.source, 'is not a vdi disk');
  if (header.readUInt32LE(0x44) !== VDI.version) throw damaged(reader, 'a version of vdi that is unknown');
  const type = header.readUInt32LE(0x4c);
  const linked = header.subarray(0x1a8, 0x1c8).some((b) => b !== 0);
  if ((type !== VDI.dynamic && type !== VDI.fixed) || linked) throw parent(reader, `vdi of type ${type}`);
  if (header.readUInt32LE(0x168) !== SECTOR) throw damaged(reader, 'sectors that are not of 512 bytes');
  if (header.readUInt32LE(0x178) !== VDI.blockBytes) throw damaged(reader, 'blocks that are not of 1 MiB');
  return small(header.readBigUInt64LE(0x170));
}

const VPC = { fixed: 2, dynamic: 3 } as const;

/** A footer, and of a dynamic one a copy of it at the beginning, which is what QEMU reads first. */
async function inspectVpc(reader: BoundedReader): Promise<number> {
  const { source } = reader;
  const begin = await reader.peek(0, SECTOR);
  const atBegin = begin.subarray(0, 8).toString('latin1') === 'conectix';
  const footer = atBegin ? begin : await reader.peek(Math.max(0, source.sizeBytes - SECTOR), SECTOR);
  if (footer.length < SECTOR || footer.subarray(0, 8).toString('latin1') !== 'conectix')
    throw unsafe(source, 'is not a vpc (vhd) disk');
  const type = footer.readUInt32BE(0x3c);
  if (type !== VPC.fixed && type !== VPC.dynamic) throw parent(reader, `vhd of type ${type}`);
  return small(footer.readBigUInt64BE(0x30));
}

const VHDX = {
  ...{ regionsAt: 192 * 1024, tableBytes: 64 * 1024, mostEntries: 2047 },
  metadata: '06a27c8b90479a4bb8fe575f050f886e',
  parameters: '3767a1ca36fa434db3b633f0aa44e76b',
  size: '2442a52f1bcd7648b2115dbed83bf4b8',
} as const;

async function inspectVhdx(reader: BoundedReader): Promise<number> {
  const regions = await reader.read(VHDX.regionsAt, VHDX.tableBytes, 'table of regions');
  if (regions.subarray(0, 4).toString('latin1') !== 'regi') throw damaged(reader, 'no table of regions');
  const at = entry(reader, regions, { count: regions.readUInt32LE(8), first: 16, guid: VHDX.metadata });
  if (at === undefined) throw damaged(reader, 'no metadata');
  const region = small(regions.readBigUInt64LE(at + 16));
  if (!Number.isFinite(region)) throw damaged(reader, 'metadata at no place');
  const table = await reader.read(region, VHDX.tableBytes, 'metadata');
  if (table.subarray(0, 8).toString('latin1') !== 'metadata') throw damaged(reader, 'no metadata');
  const item = async (guid: string, length: number): Promise<Buffer> => {
    const found = entry(reader, table, { count: table.readUInt16LE(10), first: 32, guid });
    if (found === undefined) throw damaged(reader, 'incomplete metadata');
    return reader.read(region + table.readUInt32LE(found + 16), length, 'metadata');
  };
  const parameters = await item(VHDX.parameters, 8);
  if ((parameters.readUInt32LE(4) & 2) !== 0) throw parent(reader, 'a vhdx with a parent');
  return small((await item(VHDX.size, 8)).readBigUInt64LE(0));
}

interface Entries {
  readonly count: number;
  readonly first: number;
  readonly guid: string;
}

/** Entries of both tables are 32 bytes long and begin with what they are. Twice the same: nobody can tell which counts. */
function entry(reader: BoundedReader, table: Buffer, { count, first, guid }: Entries): number | undefined {
  if (count > VHDX.mostEntries || first + 32 * count > table.length)
    throw damaged(reader, `${count} entries in a table`);
  const found = Array.from({ length: count }, (_, i) => first + 32 * i).filter(
    (at) => table.subarray(at, at + 16).toString('hex') === guid,
  );
  if (found.length > 1) throw damaged(reader, 'the same entry twice in a table');
  return found[0];
}
