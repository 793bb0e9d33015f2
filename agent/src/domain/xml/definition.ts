/**
 * Domain XML from a spec, put together from its parts. Pure; every value is escaped. Kept in golden files. What a host can do
 * (domain type, direct I/O) and where its files lie comes in `host`.
 */
import { createHash } from 'node:crypto';
import { metadataXml } from '../metadata.ts';
import { specHash, type DomainSpec } from '../spec.ts';
import { cpuTuneXml, cpuXml, numaTuneXml, vcpuXml } from './cpu.ts';
import { balloonXml, channelsXml, hostDevicesXml, rngXml, serialXml, tpmXml, usbXml, watchdogXml } from './devices.ts';
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
  return definition(s, host, metadataXml(mark), kept);
}

/** Equal as long as this spec becomes the same definition on this host. Passwords are not in it. */
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
