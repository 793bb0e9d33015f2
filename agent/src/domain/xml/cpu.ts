/** vCPUs, the CPU that the guest sees, and where both run: to XML and back. Pure. */
import { mostVcpus } from '@berth/shared/hardware/check-cpu.ts';
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import { cpusOf } from '@berth/shared/hardware/values.ts';
import type { DomainSpec } from '../spec.ts';
import type { DomainHost } from './host.ts';
import { said } from './said.ts';
import { el, textEl, type Node } from './text.ts';
import { attributeAt, find, findAll, textAt, type XmlElement } from './tree.ts';
import { bytesOf } from './units.ts';

type Cpu = NonNullable<Hardware['cpu']>;

/** What QEMU emulates when nothing is said: host-model would ask it for features that it can't emulate. */
const EMULATED = 'qemu64';

/** `0-3,^2` as libvirt prints it: 0-1,3. */
export function cpuSet(set: string): string {
  const runs: [number, number][] = [];
  for (const cpu of cpusOf(set)) {
    const last = runs.at(-1);
    if (last && last[1] === cpu - 1) last[1] = cpu;
    else runs.push([cpu, cpu]);
  }
  return runs.map(([a, b]) => (a === b ? String(a) : `${a}-${b}`)).join(',');
}

export function vcpuXml(s: DomainSpec): string {
  const most = mostVcpus({ vcpus: s.vcpus, hardware: s.hardware ?? {} });
  return textEl('vcpu', { placement: 'static', current: most === s.vcpus ? undefined : s.vcpus }, most);
}

export function cpuTuneXml({ cpu }: Hardware): Node {
  const pins = (cpu?.pinning ?? []).map((p) => el('vcpupin', { vcpu: p.vcpu, cpuset: cpuSet(p.cpus) }));
  if (pins.length === 0 && cpu?.emulatorCpus === undefined) return undefined;
  const emulator =
    cpu?.emulatorCpus === undefined ? undefined : el('emulatorpin', { cpuset: cpuSet(cpu.emulatorCpus) });
  return el('cputune', {}, ...pins, emulator);
}

export function numaTuneXml({ cpu }: Hardware): Node {
  const nodes = (cpu?.numa ?? []).flatMap((n, i) =>
    n.hostNodes === undefined ? [] : [el('memnode', { cellid: i, mode: 'strict', nodeset: cpuSet(n.hostNodes) })],
  );
  return nodes.length === 0 ? undefined : el('numatune', {}, ...nodes);
}

export function cpuXml({ cpu = {} }: Hardware, host: DomainHost): Node {
  const model = modelOf(cpu, host);
  const inner = [model.element, topologyXml(cpu), ...(cpu.features ?? []).map(featureXml), numaXml(cpu)];
  if (model.attributes.mode === undefined && inner.every((n) => n === undefined)) return undefined;
  return el('cpu', model.attributes, ...inner);
}

interface Model {
  readonly attributes: { readonly mode?: string; readonly match?: string; readonly check?: string };
  readonly element?: string;
}

function modelOf(cpu: Cpu, { domainType }: DomainHost): Model {
  const emulated = domainType === 'qemu';
  const custom = (name: string): Model => ({
    attributes: { mode: 'custom', match: 'exact', check: emulated ? 'none' : 'partial' },
    element: textEl('model', { fallback: 'forbid' }, name),
  });
  if (cpu.mode === 'custom' && !(emulated && cpu.model === EMULATED)) return custom(cpu.model ?? '');
  if (cpu.mode === 'host-passthrough' || cpu.mode === 'maximum')
    return { attributes: { mode: cpu.mode, check: 'none' } };
  if (!emulated) return { attributes: { mode: 'host-model', check: 'partial' } };
  // features can only be of a CPU that has a name
  return (cpu.features ?? []).length > 0 ? custom(EMULATED) : { attributes: {} };
}

const topologyXml = ({ topology: t }: Cpu): Node =>
  t && el('topology', { sockets: t.sockets, dies: t.dies ?? 1, cores: t.cores, threads: t.threads });

const featureXml = (f: { readonly name: string; readonly policy?: string | undefined }): string =>
  el('feature', { policy: f.policy ?? 'require', name: f.name });

const numaXml = ({ numa = [] }: Cpu): Node =>
  numa.length === 0
    ? undefined
    : el(
        'numa',
        {},
        ...numa.map((n, id) => el('cell', { id, cpus: cpuSet(n.cpus), memory: n.memoryBytes / 1024, unit: 'KiB' })),
      );

/** @param domainType of the domain itself */
export function readCpu(domain: XmlElement): Pick<Hardware, 'maxVcpus' | 'cpu'> & { readonly vcpus: number } {
  const most = Number(textAt(domain, 'vcpu'));
  const current = attributeAt(domain, 'current', 'vcpu');
  const cpu = find(domain, 'cpu');
  const tune = find(domain, 'cputune');
  const emulated = domain.attributes['type'] === 'qemu';
  return {
    vcpus: current === undefined ? most : Number(current),
    ...said({
      maxVcpus: current === undefined || Number(current) === most ? undefined : most,
      cpu: said({
        ...readModel(cpu, emulated),
        features: readFeatures(cpu),
        topology: readTopology(find(cpu, 'topology')),
        pinning: readPins(tune),
        emulatorCpus: attributeAt(tune, 'cpuset', 'emulatorpin'),
        numa: readNuma(domain, cpu),
      }),
    }),
  };
}

function readModel(cpu: XmlElement | undefined, emulated: boolean): Pick<Cpu, 'mode' | 'model'> {
  const mode = cpu?.attributes['mode'];
  const model = textAt(cpu, 'model');
  if (mode === 'host-passthrough' || mode === 'maximum') return { mode };
  if (mode === 'host-model' || model === '' || (emulated && model === EMULATED)) return {};
  return { mode: 'custom', model };
}

type Policy = NonNullable<NonNullable<Cpu['features']>[number]['policy']>;

function readFeatures(cpu: XmlElement | undefined): Cpu['features'] {
  const all = findAll(cpu, 'feature').map(({ attributes: { name = '', policy } }) => ({
    name,
    ...(policy !== undefined && policy !== 'require' && { policy: policy as Policy }),
  }));
  return all.length === 0 ? undefined : all;
}

function readTopology(e: XmlElement | undefined): Cpu['topology'] {
  if (e === undefined) return undefined;
  const { sockets, dies = '1', cores, threads } = e.attributes;
  const more = Number(dies) === 1 ? {} : { dies: Number(dies) };
  return { sockets: Number(sockets), ...more, cores: Number(cores), threads: Number(threads) };
}

function readPins(tune: XmlElement | undefined): Cpu['pinning'] {
  const pins = findAll(tune, 'vcpupin').map(({ attributes: { vcpu, cpuset = '' } }) => ({
    vcpu: Number(vcpu),
    cpus: cpuset,
  }));
  return pins.length === 0 ? undefined : pins;
}

function readNuma(domain: XmlElement, cpu: XmlElement | undefined): Cpu['numa'] {
  const nodes = findAll(find(domain, 'numatune'), 'memnode');
  const cells = findAll(find(cpu, 'numa'), 'cell').map((cell, i) => {
    const { id = String(i), cpus = '', memory = '', unit = 'KiB' } = cell.attributes;
    const hostNodes = nodes.find((n) => n.attributes['cellid'] === id)?.attributes['nodeset'];
    const memoryBytes = bytesOf({ ...cell, text: memory, attributes: { unit } });
    return { cpus, memoryBytes, ...(hostNodes !== undefined && { hostNodes }) };
  });
  return cells.length === 0 ? undefined : cells;
}
