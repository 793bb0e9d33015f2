/** CPUs, from what an agent sends to what we keep: bounded, words made harmless. Most hosts of a cluster have the same: kept once. */
import type { HostCpu as HostCpuOnWire } from '@berth/proto/agent/v1/host.ts';
import type { BaselineCpuResponse } from '@berth/proto/agent/v1/machine.ts';
import type { CpuDefinition as CpuOnWire } from '@berth/proto/v1/cpu.ts';
import type { CpuDefinition, HostCpu, WorkedOutCpu } from '@berth/shared/model/cpu.ts';
import { clip } from './limits.ts';

/** QEMU knows some 400 features and 100 models. */
const MOST_NAMES = 1_000;
const NAME_CHARS = 64;
/** Kinds of hosts; with more of them, equal ones are kept more than once. */
const MOST_KINDS = 256;

const kinds = new Map<string, HostCpu>();

export const toHostCpu = ({ definition, features, models }: HostCpuOnWire): HostCpu =>
  sameCpu({ ...toCpu(definition), all: names(features), models: names(models) });

/** The one that was seen before, of those that are equal. */
export function sameCpu(cpu: HostCpu): HostCpu {
  const key = JSON.stringify(cpu);
  const known = kinds.get(key);
  if (known !== undefined) return known;
  if (kinds.size >= MOST_KINDS) kinds.clear();
  kinds.set(key, cpu);
  return cpu;
}

export const toWorkedOutCpu = (r: BaselineCpuResponse): WorkedOutCpu => ({
  ...toCpu(r.definition),
  ...{ all: names(r.features), models: names(r.models) },
});

export const cpuToWire = ({ model, vendor, features }: CpuDefinition): CpuOnWire => ({
  ...{ model, vendor },
  features: features.map((f) => ({ ...f })),
});

const toCpu = (c: CpuOnWire | undefined): CpuDefinition => ({
  model: clip(c?.model ?? '', NAME_CHARS),
  vendor: clip(c?.vendor ?? '', NAME_CHARS),
  features: (c?.features ?? []).slice(0, MOST_NAMES).map(({ name, policy }) => ({
    name: clip(name, NAME_CHARS),
    policy: policy === 'disable' ? 'disable' : 'require',
  })),
});

const names = (list: readonly string[]): readonly string[] => list.slice(0, MOST_NAMES).map((n) => clip(n, NAME_CHARS));
