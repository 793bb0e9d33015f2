/**
 * A VM as its host is to have it: what the controller asks for and an agent reads back. Its shape is the same on both sides;
 * here is that shape, and its form on the wire. Sizes, names and ids are for whoever gets it to check.
 */
import type { DomainCdrom, DomainDisk, DomainNic } from '@berth/proto/agent/v1/domain.ts';
import { DomainSpec } from '@berth/proto/agent/v1/domain.ts';
import { checkDiskOptions, checkHardware, checkNicOptions } from './check.ts';
import { CDROM_BUSES, type CdromBus, type DiskOptions, type Hardware, type NicOptions } from './schema.ts';
import { diskOptionsToWire, fromWire, hardwareFromWire, hardwareToWire, nicOptionsToWire } from './wire.ts';

export interface DomainDefinition {
  readonly vmId: string;
  readonly uuid: string;
  readonly name: string;
  readonly vcpus: number;
  readonly memoryBytes: number;
  readonly disks: readonly DefinedDisk[];
  readonly nics: readonly DefinedNic[];
  readonly seedVolumeId: string | undefined;
  readonly generation: number;
  readonly hardware?: Hardware | undefined;
  readonly cdroms?: readonly DefinedCdrom[] | undefined;
}
export interface DefinedDisk {
  readonly target: string;
  readonly volumeId: string;
  readonly options?: DiskOptions | undefined;
}
export interface DefinedNic {
  readonly mac: string;
  readonly bridge: string;
  readonly model: string;
  readonly options?: NicOptions | undefined;
}
export interface DefinedCdrom {
  readonly target: string;
  readonly bus: CdromBus;
  /** The medium; undefined: none. */
  readonly imageDigest?: string | undefined;
}

/** Whether it says more than agents without capability `domain.hardware` understand. */
export const needsHardware = (d: DomainDefinition): boolean =>
  d.hardware !== undefined ||
  (d.cdroms ?? []).length > 0 ||
  [...d.disks, ...d.nics].some((x) => x.options !== undefined);

export const domainToWire = (d: DomainDefinition): DomainSpec =>
  DomainSpec.fromPartial({
    ...{ vmId: d.vmId, uuid: d.uuid, name: d.name, vcpus: d.vcpus },
    memoryBytes: BigInt(d.memoryBytes),
    disks: d.disks.map(({ options, ...x }) => ({ ...x, ...(options && { options: diskOptionsToWire(options) }) })),
    nics: d.nics.map(({ options, ...x }) => ({ ...x, ...(options && { options: nicOptionsToWire(options) }) })),
    seedVolumeId: d.seedVolumeId ?? '',
    generation: BigInt(d.generation),
    ...(d.hardware && { hardware: hardwareToWire(d.hardware) }),
    cdroms: (d.cdroms ?? []).map((c) => ({ ...c, imageDigest: c.imageDigest ?? '' })),
  });

/** The parts of a definition that came over the wire. @param what begins every line of a refusal: `vm web` */
export function partsFromWire(
  what: string,
  m: DomainSpec,
): Pick<DomainDefinition, 'disks' | 'nics' | 'hardware' | 'cdroms'> {
  const hardware = hardwareFromWire(m.hardware);
  const cdroms = m.cdroms.map(readCdrom);
  return {
    disks: m.disks.map((d, i) => readDisk(`${what}: disks.${i}`, d)),
    nics: m.nics.map((n, i) => readNic(`${what}: nics.${i}`, n)),
    ...(hardware !== undefined && { hardware: checkHardware(what, hardware) }),
    ...(cdroms.length > 0 && { cdroms }),
  };
}

function readDisk(what: string, { target, volumeId, options }: DomainDisk): DefinedDisk {
  return { target, volumeId, ...(options && { options: checkDiskOptions(what, fromWire(options)) }) };
}

function readNic(what: string, { mac, bridge, model, options }: DomainNic): DefinedNic {
  return { mac, bridge, model, ...(options && { options: checkNicOptions(what, fromWire(options)) }) };
}

const readCdrom = ({ target, bus, imageDigest }: DomainCdrom): DefinedCdrom => ({
  target,
  bus: CDROM_BUSES.find((b) => b === bus) ?? 'sata',
  imageDigest: imageDigest === '' ? undefined : imageDigest,
});
