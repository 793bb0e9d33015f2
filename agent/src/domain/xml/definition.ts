/**
 * Domain XML from a spec, put together from its parts. Pure; every value is escaped. Kept in golden files. What a host can do
 * (domain type, direct I/O) and where its files lie comes in `host`.
 */
import { createHash } from 'node:crypto';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { metadataXml } from '../metadata.ts';
import { specHash, type DomainSpec } from '../spec.ts';
import { cpuTuneXml, cpuXml, numaTuneXml, vcpuXml } from './cpu.ts';
import {
  balloonXml,
  channelsXml,
  hostDevicesXml,
  rngXml,
  rootPortsXml,
  serialXml,
  tpmXml,
  usbXml,
  watchdogXml,
} from './devices.ts';
import { cdromXml, diskXml, scsiXml, seedXml } from './disk.ts';
import { graphicsXml, inputXml, soundXml, videoXml } from './display.ts';
import type { DomainHost } from './host.ts';
import { memoryBackingXml, memoryXml } from './memory.ts';
import { nicXml } from './nic.ts';
import { clockXml, featuresXml, lifecycleXml, osXml } from './os.ts';
import { el, textEl, type Node } from './text.ts';

/** What stands in a definition beside what the spec says, printed: kept.ts. */
export interface Kept {
  readonly domain: readonly string[];
  readonly devices: readonly string[];
}

const NOTHING: Kept = { domain: [], devices: [] };

export function domainXml(s: DomainSpec, host: DomainHost, kept: Kept = NOTHING): string {
  const mark = {
    vmId: s.vmId,
    specHash: specHash(s),
    generation: s.generation,
    definitionHash: definitionHash(s, host),
    fixed: fixedDevices(s),
  };
  const ports = rootPortsXml(s.hardware ?? {});
  return definition(s, host, metadataXml(mark), { ...kept, devices: [...ports, ...kept.devices] });
}

/** Equal as long as this spec becomes the same definition on this host. Neither passwords nor free ports are in it. */
export const definitionHash = (s: DomainSpec, host: DomainHost): string =>
  createHash('sha256')
    .update(definition(s, host, '', NOTHING).replace(/ passwd="[^"]*"/g, ' passwd=""'))
    .digest('hex')
    .slice(0, 32);

/** Devices whose address was asked for: libvirt gives all others one as well. */
function fixedDevices(s: DomainSpec): readonly string[] {
  const h = s.hardware ?? {};
  const named: readonly (readonly [string, string | undefined])[] = [
    ...s.disks.map((d) => [d.target, d.options?.pciAddress] as const),
    ...s.nics.map((n) => [n.mac, n.options?.pciAddress] as const),
    ['balloon', h.balloon?.pciAddress],
    ['video', h.video?.pciAddress],
    ['sound', h.sound?.pciAddress],
  ];
  return named.filter(([, address]) => address !== undefined).map(([key]) => key);
}

function definition(s: DomainSpec, host: DomainHost, metadata: string, kept: Kept): string {
  const h = s.hardware ?? {};
  return (
    el(
      'domain',
      { type: host.domainType },
      textEl('name', {}, s.name),
      textEl('uuid', {}, s.uuid),
      el('metadata', {}, metadata),
      ...memoryXml(s),
      memoryBackingXml(h),
      vcpuXml(s),
      (h.ioThreads ?? 0) > 0 ? textEl('iothreads', {}, h.ioThreads ?? 0) : undefined,
      cpuTuneXml(h),
      numaTuneXml(h),
      osXml(s, host),
      featuresXml(h),
      cpuXml(h, host),
      clockXml(h, host),
      ...lifecycleXml(h),
      el('devices', {}, textEl('emulator', {}, host.emulatorPath), ...devices(s, host), ...kept.devices),
      ...kept.domain,
    ) + '\n'
  );
}

/** @param device target of a disk, or MAC address of a card */
export function deviceOf(
  s: DomainSpec,
  device: string,
  host: DomainHost,
): { readonly xml: string; readonly controllers: readonly string[] } {
  // a place in the boot order is only given out when a machine starts
  const { boot: _, ...hardware } = s.hardware ?? {};
  const unordered = { ...s, hardware };
  const disk = s.disks.find((d) => d.target === device);
  const nic = s.nics.find((n) => n.mac === device);
  if (disk) {
    const controllers = disk.options?.bus === 'scsi' ? scsiXml(s) : [];
    return { xml: diskXml(unordered, disk, 0, host), controllers };
  }
  if (nic) return { xml: nicXml(unordered, nic, 0), controllers: [] };
  throw invalidArgument(`vm ${s.name} has no device ${JSON.stringify(device.slice(0, 40))}`);
}

function devices(s: DomainSpec, host: DomainHost): readonly Node[] {
  const h = s.hardware ?? {};
  return [
    ...s.disks.map((d, i) => diskXml(s, d, i, host)),
    s.seedVolumeId === undefined ? undefined : seedXml(s.seedVolumeId, host),
    ...(s.cdroms ?? []).map((c, i) => cdromXml(s, c, i, host)),
    ...scsiXml(s),
    usbXml(s),
    ...s.nics.map((n, i) => nicXml(s, n, i)),
    ...serialXml(h, host),
    ...channelsXml(h),
    inputXml(h),
    tpmXml(h),
    ...graphicsXml(h),
    soundXml(h),
    videoXml(h),
    ...hostDevicesXml(h),
    rngXml(h),
    watchdogXml(h),
    balloonXml(h),
  ];
}
