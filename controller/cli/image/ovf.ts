/**
 * The description in an OVA: what machine its disks belong to, read as far as Berth can say the same, and written so that other
 * programs can read it. A stranger wrote what is read: no entities, no files but those at its side, and all sizes bounded.
 */
import { XMLParser } from 'fast-xml-parser';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { NicDefinition, VmDefinition } from '@berth/shared/hardware/definition.ts';

export interface OvfDisk {
  /** Of the file beside the description. */
  readonly file: string;
}

export interface Ovf {
  readonly name: string;
  readonly disks: readonly OvfDisk[];
  readonly defaults: VmDefinition;
}

const LONGEST = 4 * 2 ** 20;
const MOST_ITEMS = 200;
const TYPE = { cpu: 3, memory: 4, ethernet: 10, disk: 17 } as const;

type Node = { readonly [key: string]: unknown };

const parser = new XMLParser({
  ...{ ignoreAttributes: false, attributeNamePrefix: '@', removeNSPrefix: true, processEntities: false },
  ...{ parseTagValue: false, parseAttributeValue: false, trimValues: true },
});

const bad = (file: string, why: string): ClusterError =>
  new ClusterError('UNSAFE_IMAGE', `${file} ${why}`, { subject: file });

/** @throws UNSAFE_IMAGE. @param file how people know it */
export function readOvf(file: string, text: string): Ovf {
  if (text.length > LONGEST) throw bad(file, 'has a description that is too long to be read');
  if (/<!DOCTYPE|<!ENTITY/i.test(text)) throw bad(file, 'has a description with entities, which Berth does not read');
  const envelope = parse(file, text)['Envelope'];
  if (!isNode(envelope)) throw bad(file, 'has no OVF description that can be read');
  const systems = all(envelope['VirtualSystem']);
  const [system] = systems;
  if (!system || systems.length > 1 || envelope['VirtualSystemCollection'] !== undefined)
    throw bad(file, 'describes several machines or none; Berth imports one at a time');
  const items = all(system['VirtualHardwareSection']).flatMap((s) => [
    ...all(s['Item']),
    ...all(s['StorageItem']),
    ...all(s['EthernetPortItem']),
  ]);
  if (items.length > MOST_ITEMS) throw bad(file, 'describes too many devices');
  return {
    name: (word(system['Name']) || word(system['@id'])).slice(0, 120),
    disks: disksOf(file, envelope, items),
    defaults: defaultsOf(system, items),
  };
}

function parse(file: string, text: string): Node {
  try {
    return parser.parse(text) as Node;
  } catch {
    throw bad(file, 'has a description that is no XML');
  }
}

const isNode = (v: unknown): v is Node => typeof v === 'object' && v !== null && !Array.isArray(v);
const all = (v: unknown): readonly Node[] => (Array.isArray(v) ? (v as unknown[]) : [v]).filter(isNode);
const word = (v: unknown): string =>
  typeof v === 'string' ? v : isNode(v) && typeof v['#text'] === 'string' ? v['#text'] : '';
const number = (v: unknown): number => (/^\d{1,15}$/.test(word(v)) ? Number(word(v)) : 0);

/** In the order of the machine's disks; those that no disk of it is are left out. */
function disksOf(file: string, envelope: Node, items: readonly Node[]): readonly OvfDisk[] {
  const files = new Map(all((envelope['References'] as Node | undefined)?.['File']).map((f) => [word(f['@id']), f]));
  const disks = new Map(
    all((envelope['DiskSection'] as Node | undefined)?.['Disk']).map((d) => [word(d['@diskId']), d]),
  );
  return items
    .filter((i) => number(i['ResourceType']) === TYPE.disk)
    .flatMap((i) => {
      const id = /^(?:ovf:)?\/?disk\/(.+)$/.exec(word(i['HostResource']).trim())?.[1];
      const disk = id === undefined ? undefined : disks.get(id);
      if (!disk) return [];
      if (word(disk['@parentRef']) !== '') throw bad(file, 'has a disk that holds only what differs from another one');
      const found = files.get(word(disk['@fileRef']));
      // one that is described and not there is made empty by whoever imports it
      if (!found) return [];
      if (word(found['@compression']) !== '' && word(found['@compression']) !== 'identity')
        throw bad(file, `has a disk that is packed (${word(found['@compression']).slice(0, 20)}). Unpack it first`);
      const name = word(found['@href']);
      if (!/^[^/\\\0-\x1f\x7f]{1,200}$/.test(name) || name.startsWith('..'))
        throw bad(
          file,
          `names a disk with a path (${JSON.stringify(name.slice(0, 80))}); all files lie beside the description`,
        );
      return [{ file: name }];
    });
}

function defaultsOf(system: Node, items: readonly Node[]): VmDefinition {
  const of = (type: number): readonly Node[] => items.filter((i) => number(i['ResourceType']) === type);
  const vcpus = number(of(TYPE.cpu)[0]?.['VirtualQuantity']);
  const [memory] = of(TYPE.memory);
  const memoryBytes = number(memory?.['VirtualQuantity']) * unitOf(word(memory?.['AllocationUnits']));
  const nics = of(TYPE.ethernet).slice(0, 25).map(nicOf);
  return {
    ...(vcpus > 0 && vcpus <= 1024 && { vcpus }),
    ...(memoryBytes >= 16 * 2 ** 20 && memoryBytes <= 64 * 2 ** 40 && { memoryBytes }),
    ...(isEfi(system) && { firmware: { type: 'uefi' as const } }),
    nics,
  };
}

/** `byte * 2^20`, MegaBytes, MB: megabytes unless it says otherwise. */
function unitOf(text: string): number {
  const power = /^byte\s*\*\s*2\^(\d{1,2})$/i.exec(text.trim())?.[1];
  if (power !== undefined) return 2 ** Math.min(40, Number(power));
  if (/^(giga|g)/i.test(text)) return 2 ** 30;
  if (/^(kilo|k)/i.test(text)) return 2 ** 10;
  return /^bytes?$/i.test(text.trim()) ? 1 : 2 ** 20;
}

/** What Berth has a name for; anything else becomes what VMs usually have. */
const NICS: Readonly<Record<string, NicDefinition['model']>> = {
  ...{ e1000: 'e1000', e1000e: 'e1000e', virtio: 'virtio', rtl8139: 'rtl8139' },
};
function nicOf(item: Node): NicDefinition {
  const model = NICS[word(item['ResourceSubType']).toLowerCase()];
  return model === undefined ? {} : { model };
}

function isEfi(system: Node): boolean {
  const said = all(system['VirtualHardwareSection']).flatMap((s) => [...all(s['Config']), ...all(s['ExtraConfig'])]);
  if (said.some((c) => /^firmware$/i.test(word(c['@key'])) && /^efi$/i.test(word(c['@value'])))) return true;
  const box = (system['Machine'] as Node | undefined)?.['Hardware'];
  return isNode(box) && isNode(box['Firmware']) && /^efi/i.test(word(box['Firmware']['@type']));
}
