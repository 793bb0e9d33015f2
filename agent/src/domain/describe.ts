/**
 * The way back from a domain's XML to the spec that it was made from, for a controller that lost it. Pure but for what the
 * caller gives. Tells what does not fit: somebody may have edited the domain. What stands in it that no spec can say is
 * xml/foreign.ts's.
 */
import { badState, chain } from '@berth/shared/errors/cluster-error.ts';
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import { checkHardware } from '@berth/shared/hardware/check.ts';
import type { VolumeSeen } from '../drivers/disks.ts';
import type { DomainMark } from './metadata.ts';
import { checkDomainSpec, specHash, type DomainSpec } from './spec.ts';
import { readCpu } from './xml/cpu.ts';
import { definitionHash } from './xml/definition.ts';
import { readDevices } from './xml/devices.ts';
import { readDisplay } from './xml/display.ts';
import { foreignIn, type Foreign } from './xml/foreign.ts';
import type { DomainHost } from './xml/host.ts';
import { readMemory } from './xml/memory.ts';
import { readNic } from './xml/nic.ts';
import { readOs } from './xml/os.ts';
import { fileOf, isDrive, readDiskOptions, readDrive, targetOf } from './xml/read-drives.ts';
import { said } from './xml/said.ts';
import { attributeAt, find, findAll, parseXml, textAt, type XmlElement } from './xml/tree.ts';

export interface DomainDescription {
  readonly spec: DomainSpec;
  readonly volumes: readonly VolumeSeen[];
  /** In words: what is not as Berth made it. */
  readonly changes: readonly string[];
  /** What stands in it that no spec can say. */
  readonly foreign: readonly Foreign[];
  /** Its network cards by their MAC address. */
  readonly cards: ReadonlyMap<string, XmlElement>;
}

export interface DescribeFrom {
  readonly xml: string;
  readonly mark: Pick<DomainMark, 'vmId' | 'specHash' | 'generation' | 'definitionHash' | 'fixed'>;
  /** Of this host, by the path of their file. */
  readonly volumes: ReadonlyMap<string, VolumeSeen>;
  /** Digests of this host's images, by the path of their file. */
  readonly images: ReadonlyMap<string, string>;
  readonly host: DomainHost;
}

const EDITED = 'its sizes, disks, network cards or other hardware are not as Berth made them';

/** BAD_STATE when no spec can be read from it. */
export function describeDomain(from: DescribeFrom): DomainDescription {
  const domain = parseXml(from.xml);
  const disks = findAll(find(domain, 'devices'), 'disk');
  const own = disks.flatMap((d) => {
    const volume = isDrive(d) ? undefined : from.volumes.get(fileOf(d));
    return volume ? [{ disk: d, volume }] : [];
  });
  const spec = withMachine(checked(readSpec(domain, own, from)), from);
  const foreign = foreignOf(from);
  const words = foreign.map((f) => f.what);
  const changes = words.length > 0 || isAsMade(spec, from) ? words : [EDITED];
  return { spec, volumes: own.map((d) => d.volume), changes, foreign, cards: cardsOf(domain) };
}

/** Of a domain that no spec can be read from as well. */
export const foreignOf = ({ xml, volumes, images, host: { bootDir } }: DescribeFrom): readonly Foreign[] =>
  foreignIn(parseXml(xml), { isVolume: (p) => volumes.has(p), isImage: (p) => images.has(p), bootDir });

const cardsOf = (domain: XmlElement): ReadonlyMap<string, XmlElement> =>
  new Map(
    findAll(find(domain, 'devices'), 'interface').map((card) => [
      (attributeAt(card, 'address', 'mac') ?? '').toLowerCase(),
      card,
    ]),
  );

/** Of the same words, or of others that come to the same on this host: a default that was spelt out. */
const isAsMade = (spec: DomainSpec, { mark, host }: DescribeFrom): boolean =>
  specHash(spec) === mark.specHash || definitionHash(spec, host) === mark.definitionHash;

/** libvirt keeps the versioned name of the machine that `q35` or `pc` is on this host. */
function withMachine(spec: DomainSpec, from: DescribeFrom): DomainSpec {
  const { machine: _versioned, ...rest } = spec.hardware ?? {};
  const general = [said(rest), { ...rest, machine: 'pc' }].map((hardware) => replaced(spec, hardware));
  return general.find((s) => isAsMade(s, from)) ?? spec;
}

function replaced(spec: DomainSpec, hardware: Hardware | undefined): DomainSpec {
  const { hardware: _versioned, ...rest } = spec;
  return { ...rest, ...(hardware && { hardware }) };
}

/** What a definition says of hardware, for whoever does not care for its files. */
export function hardwareIn(
  xml: string,
  bootDir: string,
): Pick<DomainSpec, 'name' | 'vcpus' | 'memoryBytes' | 'hardware'> {
  const domain = parseXml(xml);
  return { name: textAt(domain, 'name'), ...readHardware(domain, bootDir, () => false) };
}

function readHardware(
  domain: XmlElement,
  bootDir: string,
  fixed: (key: string) => boolean,
): Pick<DomainSpec, 'vcpus' | 'memoryBytes' | 'hardware'> {
  const devices = find(domain, 'devices');
  const { vcpus, ...cpu } = readCpu(domain);
  const { memoryBytes, ...memory } = readMemory(domain);
  const usesUsb = findAll(devices, 'disk').some((d) => attributeAt(d, 'bus', 'target') === 'usb') || onUsb(devices);
  const hardware = said({
    ...{ ...cpu, ...memory, ...readOs(domain, bootDir) },
    ...{ ...readDisplay(domain, fixed), ...readDevices(domain, { usesUsb }, fixed) },
  });
  return { vcpus, memoryBytes, hardware };
}

interface OwnDisk {
  readonly disk: XmlElement;
  readonly volume: VolumeSeen;
}

function readSpec(domain: XmlElement, own: readonly OwnDisk[], from: DescribeFrom): DomainSpec {
  const devices = find(domain, 'devices');
  const fixed = (key: string): boolean => from.mark.fixed.includes(key);
  const disks = own.filter(({ volume }) => !volume.seed);
  const cdroms = findAll(devices, 'disk').filter(isDrive);
  const { vcpus, memoryBytes, hardware } = readHardware(domain, from.host.bootDir, fixed);
  return {
    vmId: from.mark.vmId,
    uuid: textAt(domain, 'uuid'),
    name: textAt(domain, 'name'),
    vcpus,
    memoryBytes,
    disks: disks.map((d) => readDisk(d, from.host, fixed)),
    nics: findAll(devices, 'interface').flatMap((n) => readNic(n, fixed) ?? []),
    seedVolumeId: own.find((d) => d.volume.seed)?.volume.volumeId,
    generation: from.mark.generation,
    ...(hardware && { hardware }),
    ...(cdroms.length > 0 && { cdroms: cdroms.map((d) => readDrive(d, from.images)) }),
  };
}

const onUsb = (devices: XmlElement | undefined): boolean =>
  findAll(devices, 'input').some((i) => i.attributes['type'] === 'tablet' && i.attributes['bus'] === 'usb') ||
  findAll(devices, 'sound').some((s) => s.attributes['model'] === 'usb') ||
  findAll(devices, 'hostdev').some((h) => h.attributes['type'] === 'usb');

function readDisk({ disk, volume }: OwnDisk, host: DomainHost, fixed: (key: string) => boolean) {
  const target = targetOf(disk);
  const options = readDiskOptions(disk, volume, host, fixed(target));
  return { target, volumeId: volume.volumeId, ...(options && { options }) };
}

function checked(spec: DomainSpec): DomainSpec {
  try {
    if (spec.hardware) checkHardware(`vm ${spec.name}`, spec.hardware);
    return checkDomainSpec(spec);
  } catch (e) {
    throw badState(`domain ${spec.name.slice(0, 80)} is nothing that Berth could have made (${chain(e)})`, {}, e);
  }
}
