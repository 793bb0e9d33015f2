/**
 * The way back from a domain's XML to the spec that it was made from, for a controller that lost it. Pure but for what the
 * caller gives. Tells what does not fit: somebody may have edited the domain.
 */
import { XMLParser } from 'fast-xml-parser';
import { badState, chain } from '@berth/shared/errors/cluster-error.ts';
import type { VolumeSeen } from '../drivers/disks.ts';
import type { DomainMark } from './metadata.ts';
import { checkDomainSpec, specHash, type DomainSpec } from './spec.ts';

export interface DomainDescription {
  readonly spec: DomainSpec;
  readonly volumes: readonly VolumeSeen[];
  /** In words: what is not as Berth made it. */
  readonly changes: readonly string[];
}

export interface DescribeFrom {
  readonly xml: string;
  readonly mark: Pick<DomainMark, 'vmId' | 'specHash' | 'generation'>;
  /** Of this host, by the path of their file. */
  readonly volumes: ReadonlyMap<string, VolumeSeen>;
}

/** A disk or card at its place in the XML; what is missing in it is undefined. */
type Element = { readonly [name: string]: unknown };

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  KiB: 2 ** 10,
  k: 2 ** 10,
  MiB: 2 ** 20,
  M: 2 ** 20,
  GiB: 2 ** 30,
  G: 2 ** 30,
};
const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  parseTagValue: false,
  parseAttributeValue: false,
  processEntities: true,
  isArray: (name) => name === 'disk' || name === 'interface',
});

/** BAD_STATE when no spec can be read from it. */
export function describeDomain(from: DescribeFrom): DomainDescription {
  const domain = child(parse(from.xml), 'domain');
  const devices = child(domain, 'devices');
  const disks = list(devices, 'disk').map((d) => readDisk(d, from.volumes));
  const nics = list(devices, 'interface').map(readNic);
  const own = disks.flatMap((d) => (d.volume ? [{ target: d.target, volume: d.volume }] : []));
  const spec = checked({
    vmId: from.mark.vmId,
    uuid: text(domain, 'uuid'),
    name: text(domain, 'name'),
    vcpus: Number(text(domain, 'vcpu')),
    memoryBytes: memoryOf(domain),
    disks: own.filter((d) => !d.volume.seed).map((d) => ({ target: d.target, volumeId: d.volume.volumeId })),
    nics: nics.flatMap((n) => n.nic ?? []),
    seedVolumeId: own.find((d) => d.volume.seed)?.volume.volumeId,
    generation: from.mark.generation,
  });
  const foreign = [...disks, ...nics].flatMap((d) => d.foreign ?? []);
  const same = foreign.length === 0 && specHash(spec) === from.mark.specHash;
  const changes =
    same || foreign.length > 0 ? foreign : ['its sizes, disks or network cards are not as Berth made them'];
  return { spec, volumes: own.map((d) => d.volume), changes };
}

function parse(xml: string): Element {
  try {
    return parser.parse(xml) as Element;
  } catch {
    return {};
  }
}

function checked(spec: DomainSpec): DomainSpec {
  try {
    return checkDomainSpec(spec);
  } catch (e) {
    throw badState(`domain ${spec.name.slice(0, 80)} is nothing that Berth could have made (${chain(e)})`, {}, e);
  }
}

function readDisk(disk: Element, volumes: ReadonlyMap<string, VolumeSeen>) {
  const target = attribute(child(disk, 'target'), 'dev');
  const source = child(disk, 'source');
  const path = attribute(source, 'file') || attribute(source, 'dev') || attribute(source, 'volume');
  const volume = volumes.get(path);
  return volume
    ? { target, volume, foreign: undefined }
    : {
        target,
        volume: undefined,
        foreign: `disk ${target} (${path.slice(0, 200) || 'empty'}) is not in Berth's pool`,
      };
}

function readNic(nic: Element) {
  const mac = attribute(child(nic, 'mac'), 'address');
  const bridge = attribute(child(nic, 'source'), 'bridge');
  const model = attribute(child(nic, 'model'), 'type');
  if (nic['@type'] === 'bridge' && bridge !== '') return { nic: { mac, bridge, model }, foreign: undefined };
  return { nic: undefined, foreign: `network card ${mac} is on no bridge` };
}

function memoryOf(domain: Element): number {
  const memory = domain['memory'];
  const unit = (isElement(memory) && attribute(memory, 'unit')) || 'KiB';
  return Number(text(domain, 'memory')) * (UNITS[unit] ?? Number.NaN);
}

const isElement = (v: unknown): v is Element => typeof v === 'object' && v !== null && !Array.isArray(v);
const child = (e: Element, name: string): Element => (isElement(e[name]) ? e[name] : {});
const list = (e: Element, name: string): readonly Element[] =>
  Array.isArray(e[name]) ? (e[name] as unknown[]).filter(isElement) : [];

function text(e: Element, name: string): string {
  const v = e[name];
  if (typeof v === 'string') return v;
  return isElement(v) && typeof v['#text'] === 'string' ? v['#text'] : '';
}

function attribute(e: Element | undefined, name: string): string {
  const v = e?.[`@${name}`];
  return typeof v === 'string' ? v : '';
}
