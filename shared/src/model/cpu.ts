/**
 * CPUs of guests as libvirt names them: what a host can give, and the baseline that guests of the whole cluster keep to, so that
 * each of them finds its CPU on every host. Plain data and pure rules; who works out a baseline is libvirt, on a host.
 */

export interface CpuFeature {
  readonly name: string;
  readonly policy: 'require' | 'disable';
}

export interface CpuDefinition {
  readonly model: string;
  /** Empty: of no particular vendor. */
  readonly vendor: string;
  /** Beyond the model, and those of it that are left out. */
  readonly features: readonly CpuFeature[];
}

/** What guests get on a host as host-model. */
export interface HostCpu extends CpuDefinition {
  /** All features, also those that the model implies; only those that a guest can migrate with. */
  readonly all: readonly string[];
  /** Named models that can be had there whole. */
  readonly models: readonly string[];
}

/** What libvirt makes of one or more CPUs. */
export interface WorkedOutCpu extends CpuDefinition {
  readonly all: readonly string[];
  /** Named models that have no feature beyond these. */
  readonly models: readonly string[];
}

export interface CpuBaseline extends WorkedOutCpu {
  /** `auto`, or the model that was named. */
  readonly asked: string;
  readonly setAtMs: number;
}

type Has = Pick<HostCpu, 'all' | 'models'>;

/** Asked of each host for each VM that is placed: thousands of hosts have a few kinds of CPUs, each kept once. */
const compared = new WeakMap<WorkedOutCpu, WeakMap<Has, readonly string[]>>();

/** Features of the baseline that guests on this host would lack; none: its guests can have all of it. */
export function lackingOf(host: Has, baseline: WorkedOutCpu): readonly string[] {
  const known = compared.get(baseline) ?? new WeakMap<Has, readonly string[]>();
  compared.set(baseline, known);
  const lacking = known.get(host) ?? compare(host, baseline);
  known.set(host, lacking);
  return lacking;
}

function compare(host: Has, baseline: WorkedOutCpu): readonly string[] {
  if (baseline.features.length === 0 && host.models.includes(baseline.model)) return [];
  const has = new Set(host.all);
  return baseline.all.filter((f) => !has.has(f));
}

/** Westmere; `EPYC, with avx2, without vme`. */
export function cpuWords({ model, features }: CpuDefinition): string {
  const list = (policy: CpuFeature['policy'], word: string): string => {
    const names = features.filter((f) => f.policy === policy).map((f) => f.name);
    return names.length === 0 ? '' : `, ${word} ${names.join(' ')}`;
  };
  return `${model}${list('require', 'with')}${list('disable', 'without')}`;
}
