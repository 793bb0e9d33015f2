/** CPUs of guests as libvirt and QEMU of this host know them: what host-model comes to, and what several CPUs have in common. */
import { badState, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { CpuDefinition, HostCpu, WorkedOutCpu } from '@berth/shared/model/cpu.ts';
import { cpuText, readCpuText, readHostModel } from './cpu-xml.ts';
import type { Pool } from './pool.ts';
import { PROC } from './procedures.ts';

/** VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES, VIR_CONNECT_BASELINE_CPU_MIGRATABLE */
const EXPAND = 1;
const MIGRATABLE = 2;
/** Waits while a domain is being launched. */
const DEADLINE_MS = 60_000;

export interface CpuVerbOptions {
  readonly quick: Pool;
  ready(what: string): Promise<void>;
}

export class LibvirtCpus {
  constructor(readonly opts: CpuVerbOptions) {}

  /** @throws BAD_STATE where libvirt does not tell what host-model is */
  async host(domainType: string): Promise<HostCpu> {
    const { definition, names } = await this.#capabilities(domainType);
    if (definition === undefined) throw badState('libvirt does not tell which CPU guests can have here');
    const all = await this.#featuresOf(definition, domainType);
    return { ...definition, all, models: names.filter((n) => n.usable).map((n) => n.name) };
  }

  /** @throws INVALID_ARGUMENT: an unknown model, or nothing in common */
  async baseline(cpus: readonly CpuDefinition[], domainType: string): Promise<WorkedOutCpu> {
    const definition = readCpuText(await this.#ask(cpus, domainType, MIGRATABLE));
    const all = await this.#featuresOf(definition, domainType);
    const within = new Set(all);
    const models: string[] = [];
    for (const { name } of (await this.#capabilities(domainType)).names) {
      const features = await this.#featuresOf({ model: name, vendor: '', features: [] }, domainType).catch(notKnown);
      if (features?.every((f) => within.has(f)) === true) models.push(name);
    }
    return { ...definition, all, models };
  }

  async #featuresOf(cpu: CpuDefinition, domainType: string): Promise<readonly string[]> {
    const { features } = readCpuText(await this.#ask([cpu], domainType, EXPAND | MIGRATABLE));
    return features.filter((f) => f.policy === 'require').map((f) => f.name);
  }

  async #ask(cpus: readonly CpuDefinition[], domainType: string, flags: number): Promise<string> {
    const what = 'compare CPUs';
    await this.opts.ready(what);
    const args = {
      emulator: undefined,
      arch: 'x86_64',
      machine: undefined,
      domainType,
      cpus: cpus.map(cpuText),
      flags,
    };
    try {
      return (await this.opts.quick.call(PROC.baselineCpu, args, what, DEADLINE_MS)).xml;
    } catch (e) {
      // libvirt has no number for a model that it does not know, nor for CPUs that have nothing in common
      throw isClusterError(e, 'INTERNAL') ? invalidArgument(e.message, {}, e) : e;
    }
  }

  async #capabilities(domainType: string): Promise<ReturnType<typeof readHostModel>> {
    const what = 'tell which CPUs guests can have';
    await this.opts.ready(what);
    const args = { emulator: undefined, arch: 'x86_64', machine: undefined, domainType, flags: 0 };
    return readHostModel((await this.opts.quick.call(PROC.domainCapabilities, args, what, DEADLINE_MS)).xml);
  }
}

/** Models that QEMU names and libvirt has no list of features for. */
function notKnown(e: unknown): undefined {
  if (!isClusterError(e, 'INVALID_ARGUMENT')) throw e;
}
