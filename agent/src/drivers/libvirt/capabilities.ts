/** What libvirt says it can run, read from its capabilities XML. */
import { XMLParser } from 'fast-xml-parser';
import type { HypervisorInfo, MachineAbilities } from '../hypervisor.ts';

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  parseTagValue: false,
  isArray: (name) => name === 'guest' || name === 'domain',
});

interface Arch {
  readonly '@name'?: string;
  readonly emulator?: string;
  readonly domain?: readonly { readonly '@type'?: string; readonly emulator?: string }[];
}
interface Capabilities {
  readonly capabilities?: {
    readonly host?: { readonly cpu?: { readonly arch?: string; readonly model?: string } };
    readonly guest?: readonly { readonly os_type?: string; readonly arch?: Arch }[];
  };
}

/** The guests of the host's own architecture; other emulators that happen to be installed don't count. */
export function readCapabilities(xml: string): Pick<HypervisorInfo, 'domainTypes' | 'emulatorPath' | 'cpuModel'> {
  const { capabilities } = parser.parse(xml) as Capabilities;
  const cpu = capabilities?.host?.cpu;
  const arch = (capabilities?.guest ?? [])
    .filter((g) => g.os_type === 'hvm')
    .map((g) => g.arch)
    .find((a) => a?.['@name'] === cpu?.arch);
  const types = (arch?.domain ?? []).map((d) => d['@type'] ?? '').filter((t) => t !== '');
  return {
    domainTypes: types.sort((a, b) => Number(b === 'kvm') - Number(a === 'kvm')),
    emulatorPath: arch?.emulator ?? '',
    cpuModel: cpu?.model ?? '',
  };
}

/** Of the XML of domain capabilities: lists of values under names, and CPU models. */
export function readMachineAbilities(xml: string): MachineAbilities {
  const { domainCapabilities = {} } = abilitiesParser.parse(xml) as { domainCapabilities?: Ability };
  const { os, devices, cpu } = domainCapabilities;
  const custom = (cpu?.mode ?? []).find((m) => m['@name'] === 'custom');
  return {
    firmwares: valuesOf(os, 'firmware'),
    secureBoot: valuesOf(os?.loader, 'secure').includes('yes'),
    // older libvirts don't tell
    tpms: devices?.['tpm'] === undefined ? ['emulator'] : valuesOf(devices['tpm'], 'backendModel'),
    cpuModels: (custom?.model ?? []).map((m) => (typeof m === 'string' ? m : (m['#text'] ?? ''))),
    graphics: valuesOf(devices?.graphics, 'type'),
    videos: valuesOf(devices?.video, 'modelType'),
  };
}

interface Ability {
  readonly '@name'?: string;
  readonly enum?: readonly { readonly '@name'?: string; readonly value?: readonly string[] }[];
  readonly os?: Ability;
  readonly loader?: Ability;
  readonly devices?: Readonly<Record<string, Ability | undefined>>;
  readonly cpu?: { readonly mode?: readonly Ability[] };
  readonly model?: readonly (string | { readonly '#text'?: string })[];
}

const abilitiesParser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  parseTagValue: false,
  isArray: (name) => ['enum', 'value', 'mode', 'model'].includes(name),
});

const valuesOf = (of: Ability | undefined, name: string): readonly string[] =>
  of?.enum?.find((e) => e['@name'] === name)?.value ?? [];

/** "9.0.0" from libvirt's 9000000. */
export function versionText(version: bigint): string {
  return [version / 1_000_000n, (version / 1000n) % 1000n, version % 1000n].join('.');
}
