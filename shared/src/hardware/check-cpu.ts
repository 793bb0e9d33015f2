/** What must fit together about vCPUs and memory. Pure. */
import { formatBytes } from '../units/bytes.ts';
import type { Fault, Machine } from './machine.ts';
import { cpusOf } from './values.ts';

export const mostVcpus = (m: Pick<Machine, 'vcpus' | 'hardware'>): number => m.hardware.maxVcpus ?? m.vcpus;
export const mostMemory = (m: Pick<Machine, 'memoryBytes' | 'hardware'>): number =>
  m.hardware.maxMemoryBytes ?? m.memoryBytes;

export function cpuFaults(m: Machine): Fault[] {
  return [...sizes(m), ...topology(m), ...model(m), ...pinning(m), ...numa(m), ...pages(m)];
}

function* sizes(m: Machine): Iterable<Fault> {
  if (mostVcpus(m) < m.vcpus) yield ['maxVcpus', `must be at least the ${m.vcpus} vCPUs that it starts with`];
  if (mostMemory(m) < m.memoryBytes)
    yield ['maxMemory', `must be at least the ${formatBytes(m.memoryBytes)} that it starts with`];
}

function* topology(m: Machine): Iterable<Fault> {
  const t = m.hardware.cpu?.topology;
  if (t === undefined) return;
  const product = t.sockets * (t.dies ?? 1) * t.cores * t.threads;
  if (product !== mostVcpus(m))
    yield ['cpu.topology', `has ${product} threads, but the VM has at most ${mostVcpus(m)} vCPUs: they must be equal`];
}

function* model(m: Machine): Iterable<Fault> {
  const { cpu } = m.hardware;
  if (cpu?.mode === 'custom' && cpu.model === undefined)
    yield ['cpu.model', 'is missing: mode custom needs the name of a CPU'];
  if (cpu?.model !== undefined && cpu.mode !== 'custom') yield ['cpu.model', 'is only for mode custom'];
  const names = (cpu?.features ?? []).map((f) => f.name);
  const twice = names.find((n, i) => names.indexOf(n) !== i);
  if (twice !== undefined) yield ['cpu.features', `names ${twice} twice`];
}

function* pinning(m: Machine): Iterable<Fault> {
  const pins = m.hardware.cpu?.pinning ?? [];
  for (const [i, p] of pins.entries()) {
    if (p.vcpu >= mostVcpus(m))
      yield [`cpu.pinning.${i}.vcpu`, `is ${p.vcpu}, but the last vCPU is ${mostVcpus(m) - 1}`];
    if (pins.findIndex((o) => o.vcpu === p.vcpu) !== i) yield [`cpu.pinning.${i}.vcpu`, `${p.vcpu} is pinned twice`];
    if (cpusOf(p.cpus).length === 0) yield [`cpu.pinning.${i}.cpus`, `${p.cpus} leaves no CPU`];
  }
  const emulator = m.hardware.cpu?.emulatorCpus;
  if (emulator !== undefined && cpusOf(emulator).length === 0) yield ['cpu.emulatorCpus', `${emulator} leaves no CPU`];
}

function* numa(m: Machine): Iterable<Fault> {
  const nodes = m.hardware.cpu?.numa ?? [];
  if (nodes.length === 0) return;
  const inNodes = nodes.flatMap((n) => [...cpusOf(n.cpus)]).sort((a, b) => a - b);
  const all = Array.from({ length: mostVcpus(m) }, (_, i) => i);
  if (inNodes.join() !== all.join())
    yield ['cpu.numa', `must hold each of the vCPUs 0 to ${mostVcpus(m) - 1} in one node`];
  const memory = nodes.reduce((sum, n) => sum + n.memoryBytes, 0);
  // libvirt takes the nodes for all the memory that the balloon can give
  if (memory !== mostMemory(m))
    yield ['cpu.numa', `has ${formatBytes(memory)} in all, but the VM has at most ${formatBytes(mostMemory(m))}`];
}

function* pages(m: Machine): Iterable<Fault> {
  const page = m.hardware.memoryBacking?.hugepageBytes;
  if (page === undefined) return;
  if (m.memoryBytes % page !== 0 || mostMemory(m) % page !== 0)
    yield ['memoryBacking.hugepage', `memory must be a multiple of ${formatBytes(page)}`];
}
