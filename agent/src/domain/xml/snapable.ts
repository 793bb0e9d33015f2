/** Which disks of a definition go into a snapshot, and why none can be made of some. Pure. */
import { attributeAt, find, findAll, parseXml, type XmlElement } from './tree.ts';
import { fileOf, targetOf } from './read-drives.ts';

export interface Snapable {
  /** Targets. */
  readonly disks: readonly string[];
  /** Those that nobody writes to. */
  readonly others: readonly string[];
  /** Why there can be none; for people, with what to do. */
  readonly why?: string;
}

/** @param xml of what runs, or what is stored of a domain that is off */
export function readSnapable(xml: string, how: { readonly memory: boolean; readonly off: boolean }): Snapable {
  const domain = parseXml(xml);
  const all = findAll(find(domain, 'devices'), 'disk');
  const written = all.filter((d) => !isReadOnly(d));
  const others = all.filter((d) => isReadOnly(d)).map(targetOf);
  const said = written.map(whyNot).find((w) => w !== undefined) ?? whyNotDomain(domain, written.length, how);
  return { disks: written.map(targetOf), others, ...(said !== undefined && { why: said }) };
}

/** Which disks may hold something of a snapshot that nobody has on record: qcow2 files that are written to. */
export function readHolders(xml: string): Pick<Snapable, 'disks' | 'others'> {
  const all = findAll(find(parseXml(xml), 'devices'), 'disk');
  const holds = (d: XmlElement): boolean =>
    !isReadOnly(d) && d.attributes['type'] === 'file' && attributeAt(d, 'type', 'driver') === 'qcow2';
  return { disks: all.filter(holds).map(targetOf), others: all.filter((d) => !holds(d)).map(targetOf) };
}

const isReadOnly = (d: XmlElement): boolean =>
  d.attributes['device'] === 'cdrom' || d.attributes['device'] === 'floppy' || find(d, 'readonly') !== undefined;

function whyNot(d: XmlElement): string | undefined {
  const target = targetOf(d);
  const format = attributeAt(d, 'type', 'driver');
  const type = d.attributes['type'];
  if (type !== 'file') return `disk ${target} is no file, and only qcow2 files can hold snapshots`;
  if (format !== 'qcow2')
    return `disk ${target} is ${format ?? 'raw'}, which cannot hold snapshots: convert it first (berth volume convert)`;
  if (find(d, 'mirror') !== undefined) return `disk ${target} is being moved. Try again when it is there`;
  if (find(d, 'shareable') !== undefined) return `disk ${target} is shared with other VMs`;
  return undefined;
}

function whyNotDomain(domain: XmlElement, disks: number, how: { memory: boolean; off: boolean }): string | undefined {
  if (disks === 0) return 'it has no disk';
  if (how.off || !how.memory) return undefined;
  const os = find(domain, 'os');
  if (os?.attributes['firmware'] === 'efi' || attributeAt(os, 'type', 'loader') === 'pflash')
    return 'it boots by UEFI, whose variables libvirt cannot keep with its memory: use --disk-only';
  return findAll(find(domain, 'devices'), 'hostdev').length > 0
    ? 'a device of its host cannot be kept with its memory: use --disk-only'
    : undefined;
}

/** Disks and drives with the files in them. */
export const disksOfThen = (xml: string): readonly { readonly target: string; readonly file: string }[] =>
  findAll(find(parseXml(xml), 'devices'), 'disk').map((d) => ({ target: targetOf(d), file: fileOf(d) }));
