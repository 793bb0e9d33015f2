/**
 * The CPU that a VM's guest gets: what its spec says, within the cluster's baseline. host-model, which is the default, means the
 * baseline where there is one, so that a guest finds its CPU on every host of the cluster. Pure.
 */
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import { DEFAULT_CLUSTER, type Cluster } from '@berth/shared/model/cluster.ts';
import type { CpuBaseline, WorkedOutCpu } from '@berth/shared/model/cpu.ts';
import type { CpuNeeds } from '../scheduler/world.ts';

type Cpu = Hardware['cpu'];

interface Clusters {
  readonly clusters: { get(name: string): Cluster | undefined };
}

export const baselineOf = ({ clusters }: Clusters): CpuBaseline | undefined => clusters.get(DEFAULT_CLUSTER)?.cpu;

const isHostModel = (cpu: Cpu): boolean => (cpu?.mode ?? 'host-model') === 'host-model';

/** What a host is told: a named model with its features, where the spec leaves it to the cluster. */
export function cpuWanted(hardware: Hardware | undefined, baseline: CpuBaseline | undefined): Hardware | undefined {
  const cpu = hardware?.cpu;
  if (baseline === undefined || !isHostModel(cpu)) return hardware;
  const own = new Set(cpu?.features?.map((f) => f.name));
  const features = [...baseline.features.filter((f) => !own.has(f.name)), ...(cpu?.features ?? [])];
  return {
    ...hardware,
    cpu: { ...cpu, mode: 'custom', model: baseline.model, ...(features.length > 0 && { features: [...features] }) },
  };
}

/** What its guest could not keep everywhere, in words. host-passthrough and maximum are asked for to have what one host has. */
export function beyondBaseline(cpu: Cpu, baseline: WorkedOutCpu | undefined): string | undefined {
  if (baseline === undefined || cpu === undefined) return undefined;
  if (cpu.mode === 'custom' && cpu.model !== undefined && !baseline.models.includes(cpu.model))
    return `cpu.model ${cpu.model} has more than the cluster's baseline (${baseline.model})`;
  if (cpu.mode === 'host-passthrough' || cpu.mode === 'maximum') return undefined;
  const more = (cpu.features ?? []).filter(
    (f) => f.policy !== 'disable' && f.policy !== 'forbid' && f.policy !== 'optional',
  );
  const beyond = more.filter((f) => !baseline.all.includes(f.name)).map((f) => f.name);
  if (beyond.length === 0) return undefined;
  return `cpu.features ${beyond.join(', ')} ${beyond.length === 1 ? 'is' : 'are'} not in the cluster's baseline (${baseline.model})`;
}

/** What a host must have for it; undefined: nothing in particular. */
export function cpuNeeded(cpu: Cpu, baseline: CpuBaseline | undefined): CpuNeeds | undefined {
  if (cpu?.mode === 'custom' && cpu.model !== undefined) return { model: cpu.model };
  return baseline !== undefined && isHostModel(cpu) ? { baseline } : undefined;
}
