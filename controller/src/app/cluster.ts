/**
 * What holds for all hosts together: the CPU that guests of the cluster have. libvirt of one host works it out; whether hosts and
 * VMs can follow is looked at here, before anything is changed. What guests get of it is jobs/cpu-wanted.ts's.
 */
import { badState, ClusterError, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { DEFAULT_CLUSTER, type Cluster } from '@berth/shared/model/cluster.ts';
import { cpuWords, lackingOf, type CpuBaseline, type HostCpu, type WorkedOutCpu } from '@berth/shared/model/cpu.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { baselineOf, beyondBaseline } from '../jobs/cpu-wanted.ts';
import type { State, Tx } from '../state/state.ts';

export interface ClusterDeps {
  readonly state: State;
  readonly hosts: Pick<Hosts, 'status' | 'agent'>;
  readonly clock: Clock;
}

export interface ClusterHostView {
  readonly host: Host;
  readonly cpu: HostCpu | undefined;
  readonly lacking: readonly string[];
}

export interface ClusterView {
  readonly name: string;
  readonly cpu: CpuBaseline | undefined;
  readonly hosts: readonly ClusterHostView[];
}

const AUTO = 'auto';
const NONE = 'none';
/** As libvirt names models. */
const MODEL = /^[A-Za-z0-9][\w.+-]{0,63}$/;
/** Different CPUs that one host is asked about. */
const MOST_KINDS = 64;
/** Named in a refusal. */
const MOST_NAMES = 5;

export class ClusterApp {
  constructor(private readonly deps: ClusterDeps) {}

  async get(): Promise<ClusterView> {
    const view = this.#view(baselineOf(this.deps.state.tables));
    await this.deps.state.settled();
    return view;
  }

  /** @param asked auto, none, or a named model. @throws INVALID_ARGUMENT, BAD_STATE, HOST_UNREACHABLE: then nothing has changed */
  async setCpu(asked: string, dryRun: boolean): Promise<ClusterView> {
    if (asked !== AUTO && asked !== NONE && !MODEL.test(asked))
      throw invalidArgument(
        `cpu must be auto, none, or a named model such as Skylake-Client, not ${JSON.stringify(asked)}`,
      );
    const cpu = asked === NONE ? undefined : await this.#workOut(asked);
    // hosts and VMs are looked at in the update: others may come while a host is asked
    const change = (tx?: Tx): ClusterView => {
      if (cpu !== undefined) this.#refuse(cpu);
      if (tx) this.#put(tx, cpu);
      return this.#view(cpu);
    };
    return dryRun ? change() : this.deps.state.update(change);
  }

  async #workOut(asked: string): Promise<CpuBaseline> {
    const known = this.#counted().filter((h): h is Known => h.cpu !== undefined);
    const asks = known.filter(({ host }) => this.deps.hosts.status(host.id).state === 'up');
    const [one] = asks;
    if (one === undefined)
      throw new ClusterError(
        'HOST_UNREACHABLE',
        'no host that is up tells which CPU its guests can have: see berth host list',
      );
    const kinds = new Map(known.map(({ cpu }) => [JSON.stringify(cpu), cpu]));
    if (asked === AUTO && kinds.size > MOST_KINDS)
      throw badState(
        `hosts have ${kinds.size} different CPUs, more than can be compared (${MOST_KINDS}): name a model`,
      );
    const cpus = asked === AUTO ? [...kinds.values()] : [{ model: asked, vendor: '', features: [] }];
    const { machine } = this.deps.hosts.agent(one.host.id);
    const found = await machine.baselineCpu(cpus).catch((e: unknown) => {
      if (!isClusterError(e, 'INVALID_ARGUMENT')) throw e;
      if (asked === AUTO)
        throw badState(`hosts have no CPU in common: ${e.message}. Name a model, and drain hosts that lack it`);
      throw invalidArgument(
        `cpu ${asked}: host ${one.host.name} does not know it (${e.message}): berth cluster show names those that it does`,
      );
    });
    return { ...found, asked, setAtMs: this.deps.clock.now() };
  }

  /** Those in maintenance may be on their way out. */
  #counted(): ClusterHostView[] {
    return this.#view(undefined).hosts.filter(
      ({ host }) => !host.maintenance && host.certificateFingerprint !== undefined,
    );
  }

  /** @throws BAD_STATE: a host or a VM could not follow */
  #refuse(cpu: WorkedOutCpu): void {
    const words = cpuWords(cpu);
    const counted = this.#counted();
    const silent = counted.filter((h) => h.cpu === undefined && this.deps.hosts.status(h.host.id).facts !== undefined);
    if (silent.length > 0)
      throw badState(
        `cpu ${words}: host ${some(silent.map((h) => h.host.name))} does not tell which CPU its guests can have, and its VMs could ` +
          `not be started any more: upgrade its agent, or drain it`,
      );
    const lacking = counted.flatMap((h) => {
      const lacks = h.cpu === undefined ? [] : lackingOf(h.cpu, cpu);
      return lacks.length === 0 ? [] : [`${h.host.name} (${some(lacks)})`];
    });
    if (lacking.length > 0)
      throw badState(
        `cpu ${words}: guests cannot have it on host ${some(lacking)}: choose auto or a lesser model, or drain these hosts`,
      );
    const beyond: string[] = [];
    for (const vm of this.deps.state.tables.vms.values())
      if (beyondBaseline(vm.spec.hardware?.cpu, cpu) !== undefined) beyond.push(vm.name);
    if (beyond.length > 0)
      throw badState(`cpu ${words}: vm ${some(beyond)} asks for more: change that first with berth vm edit`);
  }

  #put(tx: Tx, cpu: CpuBaseline | undefined): void {
    const before = this.deps.state.tables.clusters.get(DEFAULT_CLUSTER);
    const now: Cluster = { name: DEFAULT_CLUSTER, generation: (before?.generation ?? 0) + 1, ...(cpu && { cpu }) };
    tx.clusters.put(now);
    tx.event({
      ...{
        type: 'cluster.changed',
        severity: 'info',
        subjectKind: 'cluster',
        subject: DEFAULT_CLUSTER,
        jobId: undefined,
      },
      message: cpu ? `guests of the cluster have CPU ${cpuWords(cpu)}` : 'guests have the CPU of their hosts',
    });
  }

  #view(cpu: CpuBaseline | undefined): ClusterView {
    const { state, hosts } = this.deps;
    const views = [...state.tables.hosts.values()].map((host) => {
      const has = hosts.status(host.id).facts?.cpu;
      return { host, cpu: has, lacking: has && cpu ? lackingOf(has, cpu) : [] };
    });
    return { name: DEFAULT_CLUSTER, cpu, hosts: views };
  }
}

type Known = ClusterHostView & { readonly cpu: HostCpu };

const some = (names: readonly string[]): string =>
  names.length > MOST_NAMES
    ? `${names.slice(0, MOST_NAMES - 1).join(', ')} and ${names.length - MOST_NAMES + 1} more`
    : names.join(', ');
