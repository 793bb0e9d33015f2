/**
 * What is read from the XML of a guest that runs, and devices of it with one thing changed, as libvirt wants to see them for
 * an update: all else of a device must be as it is. Pure.
 */
import { attributeAt, find, findAll, leaf, parseXml, printXml, textAt, withChildren, type XmlElement } from './tree.ts';
import { fileOf } from './read-drives.ts';
import { bytesOf } from './units.ts';

export interface RunningGuest {
  readonly vcpus: number;
  readonly mostVcpus: number;
  readonly mostMemoryBytes: number;
  readonly hasBalloon: boolean;
  /** Targets of its CD-ROM drives. */
  readonly drives: readonly string[];
  readonly macs: readonly string[];
}

export function readRunning(xml: string): RunningGuest {
  const domain = parseXml(xml);
  const mostVcpus = Number(textAt(domain, 'vcpu'));
  const balloon = find(domain, 'devices', 'memballoon');
  return {
    vcpus: Number(attributeAt(domain, 'current', 'vcpu') ?? mostVcpus),
    mostVcpus,
    mostMemoryBytes: bytesOf(find(domain, 'memory')),
    hasBalloon: balloon !== undefined && balloon.attributes['model'] !== 'none',
    drives: cdroms(domain).map(targetOf),
    macs: cards(domain).map(macOf),
  };
}

/** The drive with this medium, or empty. Undefined when there is no such drive. @param imagePath a qcow2 file */
export function driveWith(xml: string, target: string, imagePath: string | undefined): string | undefined {
  const drive = cdroms(parseXml(xml)).find((d) => targetOf(d) === target);
  if (drive === undefined) return undefined;
  const empty = { ...drive, attributes: { ...drive.attributes, type: 'file' } };
  const driver = {
    ...find(drive, 'driver')?.attributes,
    name: 'qemu',
    type: imagePath === undefined ? 'raw' : 'qcow2',
  };
  // the image is root's, and many may have it in their drives
  const label = leaf('seclabel', { model: 'dac', relabel: 'no' });
  const medium =
    imagePath === undefined
      ? []
      : [{ ...leaf('source', { file: imagePath }), children: [label] }, leaf('backingStore')];
  return printXml(withChildren(empty, ['driver', 'source', 'backingStore'], [leaf('driver', driver), ...medium]));
}

/** Targets of the drives that a file lies in. */
export const drivesWith = (xml: string, path: string): readonly string[] =>
  cdroms(parseXml(xml))
    .filter((d) => attributeAt(d, 'file', 'source') === path)
    .map(targetOf);

/** The card with its cable in or out. Undefined when there is no such card. */
export function cardWithLink(xml: string, mac: string, down: boolean): string | undefined {
  const card = cards(parseXml(xml)).find((c) => macOf(c) === mac);
  return card && printXml(withChildren(card, ['link'], [leaf('link', { state: down ? 'down' : 'up' })]));
}

const cdroms = (domain: XmlElement): readonly XmlElement[] =>
  findAll(find(domain, 'devices'), 'disk').filter((d) => d.attributes['device'] === 'cdrom');
const cards = (domain: XmlElement): readonly XmlElement[] => findAll(find(domain, 'devices'), 'interface');
const targetOf = (disk: XmlElement): string => attributeAt(disk, 'dev', 'target') ?? '';
const macOf = (card: XmlElement): string => (attributeAt(card, 'address', 'mac') ?? '').toLowerCase();

export interface RunningDisk {
  readonly target: string;
  /** Or what stands for it; empty: none. */
  readonly file: string;
}

/** Disks and drives of what runs. */
export const disksIn = (xml: string): readonly RunningDisk[] =>
  findAll(find(parseXml(xml), 'devices'), 'disk').map((d) => ({
    target: targetOf(d),
    file: fileOf(d),
  }));

/** A disk by its target, or a card by its MAC address, as it runs. */
export function deviceIn(xml: string, device: string): { readonly xml: string; readonly alias: string } | undefined {
  const domain = parseXml(xml);
  const found =
    findAll(find(domain, 'devices'), 'disk').find((d) => targetOf(d) === device) ??
    cards(domain).find((c) => macOf(c) === device);
  return found && { xml: printXml(found), alias: attributeAt(found, 'name', 'alias') ?? '' };
}

/** Of SCSI controllers that a device needs, those that do not run. */
export function missingScsi(xml: string, wanted: readonly string[]): readonly string[] {
  const there = new Set(
    findAll(find(parseXml(xml), 'devices'), 'controller')
      .filter((c) => c.attributes['type'] === 'scsi')
      .map((c) => c.attributes['index'] ?? '0'),
  );
  return wanted.filter((w) => !there.has(parseXml(w).attributes['index'] ?? '0'));
}
