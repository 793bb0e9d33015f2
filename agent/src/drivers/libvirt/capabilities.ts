/** What libvirt says it can run, read from its capabilities XML. */
import { XMLParser } from 'fast-xml-parser';
import type { HypervisorInfo } from '../hypervisor.ts';

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

/** "9.0.0" from libvirt's 9000000. */
export function versionText(version: bigint): string {
  return [version / 1_000_000n, (version / 1000n) % 1000n, version % 1000n].join('.');
}
