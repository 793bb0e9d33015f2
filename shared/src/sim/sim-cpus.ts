/** CPUs of simulated hosts: a few models, each with what the one before it has and more. */
import { invalidArgument } from '../errors/cluster-error.ts';
import type { CpuDefinition, HostCpu, WorkedOutCpu } from '../model/cpu.ts';

/** From the oldest on; as libvirt has them, but for most of their features. */
const MODELS: readonly (readonly [model: string, adds: readonly string[]])[] = [
  ['qemu64', ['lm', 'sse2']],
  ['Nehalem', ['sse4.1', 'sse4.2']],
  ['Westmere', ['aes']],
  ['Haswell', ['avx', 'avx2']],
  ['Skylake-Client', ['mpx', 'xsavec']],
];
const NEWEST = 'Skylake-Client';

export interface SimCpus {
  host(): Promise<HostCpu>;
  baseline(cpus: readonly CpuDefinition[]): Promise<WorkedOutCpu>;
}

/** @param model what the host's own CPU is. */
export function createSimCpus(model: string = NEWEST): SimCpus {
  return {
    host: async () => ({ model, vendor: 'Intel', features: [], all: featuresOf(model), models: modelsWithin(model) }),
    async baseline(cpus) {
      const least = cpus.map((c) => c.model).reduce((a, b) => (rank(a) < rank(b) ? a : b));
      const left = cpus.flatMap((c) => c.features.filter((f) => f.policy === 'disable').map((f) => f.name));
      const all = featuresOf(least).filter((f) => !left.includes(f));
      const features = left.filter((f) => featuresOf(least).includes(f));
      const definition: CpuDefinition = {
        ...{ model: least, vendor: '' },
        features: features.map((name) => ({ name, policy: 'disable' })),
      };
      const models = MODELS.map(([m]) => m).filter((m) => featuresOf(m).every((f) => all.includes(f)));
      return { ...definition, all, models };
    },
  };
}

function rank(model: string): number {
  const at = MODELS.findIndex(([m]) => m === model);
  if (at < 0) throw invalidArgument(`Unknown CPU model ${model}`);
  return at;
}

const modelsWithin = (model: string): string[] => MODELS.slice(0, rank(model) + 1).map(([m]) => m);
const featuresOf = (model: string): string[] => MODELS.slice(0, rank(model) + 1).flatMap(([, adds]) => adds);
