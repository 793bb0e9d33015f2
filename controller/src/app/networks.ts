/** What people may do with logical networks: checks, writes intent, starts jobs. What hosts do then is jobs/networks.ts's. */
import { alreadyExists, badState, ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { checkLabels } from '@berth/shared/labels/labels.ts';
import { parseSelector } from '@berth/shared/labels/selector.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { newId, type JobId } from '@berth/shared/model/ids.ts';
import type { Network, NetworkShape } from '@berth/shared/model/network.ts';
import type { PoolHosts } from '@berth/shared/model/pool.ts';
import { checkNetwork } from '@berth/shared/network/check.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { networkChange, networkCreate, networkRemove } from '../jobs/networks.ts';
import type { State, Tx } from '../state/state.ts';
import { relabel, type LabelChange, type Labels } from './labels.ts';
import { checkName, resolve } from './names.ts';
import { isMade, networkOn, takesNetworks } from './network-hosts.ts';
import { listForeign, listNetworks, type ForeignNetworkView, type NetworkSummary, type Sees } from './network-lists.ts';
import { refusalsOf, viewNetwork, type NetworkView } from './network-view.ts';
import type { Page, PageQuery } from './pages.ts';
import { hostsOf, isOneOf } from './pool-hosts.ts';

export interface NetworksDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly clock: Clock;
}

/** Neither: all hosts. */
export interface NetworkHostsWanted {
  readonly hosts: readonly string[];
  readonly selector: string;
}

export interface CreateNetwork extends NetworkHostsWanted {
  readonly name: string;
  /** Without a bridge: as the network is called. */
  readonly shape: NetworkShape;
  readonly labels: Labels;
}

export interface UpdateNetwork {
  readonly labels?: LabelChange | undefined;
  readonly hosts?: NetworkHostsWanted | undefined;
  readonly addresses?: readonly string[] | undefined;
}

export interface NetworkJob {
  readonly view: NetworkView;
  /** Undefined: there was nothing to do on hosts. */
  readonly jobId: JobId | undefined;
}

export class NetworksApp {
  constructor(private readonly deps: NetworksDeps) {}

  async create(r: CreateNetwork, user: string): Promise<NetworkJob> {
    const { state, clock, jobs } = this.deps;
    const name = checkName('network', r.name);
    const shape = checkNetwork(`network ${name}`, withBridge(name, r.shape));
    const labels = checkLabels('a network', r.labels);
    return state.update((tx) => {
      if (state.tables.networks.byName(name))
        throw alreadyExists(`network ${name} exists already. Choose another name`);
      this.#refuseBridge(name, shape);
      const network: Network = {
        ...{ id: newId('network', clock.now()), name, state: 'creating', shape, labels },
        ...{ hosts: this.#choose(name, r), generation: 1, createdAtMs: clock.now() },
      };
      if (!isMade(network)) return this.#created(tx, network);
      const on = this.#ready(network);
      tx.networks.put(network);
      const params = { networkId: network.id, hostIds: on.map((h) => h.id) };
      return this.#started(network, jobs.start(tx, networkCreate, params, this.#options(network, user)));
    });
  }

  async get(nameOrId: string): Promise<NetworkView> {
    const { state, hosts } = this.deps;
    const network = this.#find(nameOrId);
    const view = viewNetwork(network, state.tables, hosts, refusalsOf(network, state.tables));
    await state.settled();
    return view;
  }

  async list(query: PageQuery, sees: Sees): Promise<Page<NetworkSummary>> {
    const { state, hosts } = this.deps;
    const page = listNetworks(query, { tables: state.tables, hosts, sees });
    await state.settled();
    return page;
  }

  foreign(query: PageQuery, sees: Sees): Page<ForeignNetworkView> {
    const { state, hosts } = this.deps;
    return listForeign(query, { tables: state.tables, hosts, sees });
  }

  update(nameOrId: string, wanted: UpdateNetwork, user: string): Promise<NetworkJob> {
    return this.deps.state.update((tx) => {
      const before = this.#changeable(nameOrId);
      const next = this.#changed(before, wanted);
      const said = changesOf(before, next);
      if (said.length === 0) return this.#started(before, undefined);
      tx.networks.put(next);
      const message = `network ${next.name} changed: ${said.join(', ')}`;
      const about = { severity: 'info', subjectKind: 'network', subject: next.name } as const;
      tx.event({ type: 'network.changed', ...about, message, jobId: undefined });
      return this.#started(next, this.#startChange(tx, next, user));
    });
  }

  delete(nameOrId: string, user: string): Promise<NetworkJob> {
    const { state, jobs, hosts } = this.deps;
    return state.update((tx) => {
      const network = this.#changeable(nameOrId);
      this.#refuseInUse(network, 'Take their cards off it, or delete them first');
      if (!isMade(network)) return this.#deleted(tx, network);
      const has = (h: Host): boolean =>
        takesNetworks(hosts, h.id) && networkOn(hosts.status(h.id), network.id) !== undefined;
      const hostIds = [...state.tables.hosts.values()].filter(has).map((h) => h.id);
      const params = { networkId: network.id, hostIds };
      return this.#started(network, jobs.start(tx, networkRemove, params, this.#options(network, user)));
    });
  }

  #created(tx: Tx, network: Network): NetworkJob {
    const ready: Network = { ...network, state: 'ready' };
    tx.networks.put(ready);
    const about = { type: 'network.created', severity: 'info', subjectKind: 'network' } as const;
    const message = `network ${network.name} created: bridge ${network.shape.bridge}`;
    tx.event({ ...about, subject: network.name, message, jobId: undefined });
    return this.#started(ready, undefined);
  }

  #deleted(tx: Tx, network: Network): NetworkJob {
    const { name, shape } = network;
    tx.networks.delete(network.id);
    const about = { type: 'network.deleted', severity: 'info', subjectKind: 'network', subject: name } as const;
    tx.event({ ...about, message: `network ${name} deleted; bridge ${shape.bridge} stays`, jobId: undefined });
    return this.#started(network, undefined);
  }

  #changed(before: Network, { labels, hosts, addresses }: UpdateNetwork): Network {
    const { name, shape } = before;
    const some = { ...(addresses && { addresses }) };
    if (addresses && shape.kind !== 'isolated')
      throw invalidArgument(
        `network ${name}: only an isolated network gets other addresses. Make another network beside it`,
      );
    const next: Network = {
      ...before,
      ...(labels && { labels: relabel('a network', before.labels, labels) }),
      ...(hosts && { hosts: this.#choose(name, hosts) }),
      shape: checkNetwork(`network ${name}`, { ...shape, ...some }),
    };
    this.#refuseLeaving(before, next);
    const told = JSON.stringify(next.shape) === JSON.stringify(shape);
    return told ? next : { ...next, generation: before.generation + 1 };
  }

  /** Hosts that lose it are seen to by reconcilers/networks.ts. */
  #startChange(tx: Tx, network: Network, user: string): JobId | undefined {
    if (!isMade(network)) return undefined;
    const { hosts, jobs } = this.deps;
    const behind = (h: Host): boolean =>
      (networkOn(hosts.status(h.id), network.id)?.generation ?? -1) < network.generation;
    const hostIds = this.#reachable(network)
      .filter(behind)
      .map((h) => h.id);
    if (hostIds.length === 0) return undefined;
    return jobs.start(tx, networkChange, { networkId: network.id, hostIds }, this.#options(network, user));
  }

  #options = ({ id, name }: Network, user: string) => ({
    subject: name,
    locks: [`network/${id}:exclusive` as const],
    user,
  });

  #started = (network: Network, jobId: JobId | undefined): NetworkJob => ({
    view: { ...this.#view(network), jobId },
    jobId,
  });

  #find = (nameOrId: string): Network => resolve('network', this.deps.state.tables.networks, nameOrId);

  #changeable(nameOrId: string): Network {
    const network = this.#find(nameOrId);
    const job = this.deps.state.tables.jobs.holders(`network/${network.id}`).find((j) => j.kind !== 'network.mend')?.id;
    if (network.state === 'ready' && job === undefined) return network;
    const what = network.state === 'ready' ? 'is being changed' : `is ${network.state}`;
    throw new ClusterError('RESOURCE_BUSY', `network ${network.name} ${what}: job ${job ?? ''} works on it`, {
      jobId: job ?? '',
    });
  }

  /** A bridge of Berth's is one network's; of one that others make, several may be spoken of. */
  #refuseBridge(name: string, shape: NetworkShape): void {
    const others = [...this.deps.state.tables.networks.values()].filter((n) => n.shape.bridge === shape.bridge);
    const holder = others.find((n) => isMade(n) || shape.kind !== 'bridge');
    if (holder)
      throw alreadyExists(
        `network ${name}: bridge ${shape.bridge} is that of network ${holder.name}. Choose another with --bridge`,
      );
  }

  #choose(name: string, { hosts, selector }: NetworkHostsWanted): PoolHosts {
    if (hosts.length > 0 && selector !== '')
      throw invalidArgument(`network ${name}: hosts by name, or by label: choose one way`);
    parseSelector(selector);
    const ids = [...new Set(hosts.map((h) => resolve('host', this.deps.state.tables.hosts, h).id))];
    return { all: ids.length === 0 && selector === '', ids, selector };
  }

  #reachable(network: Network): readonly Host[] {
    const { state, hosts } = this.deps;
    return hostsOf(network, state.tables).filter(
      (h) => takesNetworks(hosts, h.id) && state.tables.reviews.get(h.id) === undefined,
    );
  }

  /** Those that it can be made on now. None at all is no reason against it, unless all that there are cannot. */
  #ready(network: Network): readonly Host[] {
    const { state, hosts } = this.deps;
    const all = hostsOf(network, state.tables);
    const ready = this.#reachable(network);
    const [first] = all;
    if (ready.length > 0 || first === undefined) return ready;
    needCapability(first, hosts.status(first.id).facts, 'networks');
    throw badState(`network ${network.name}: none of its ${all.length} hosts is up. See: berth host list`);
  }

  #refuseInUse(network: Network, advice: string): void {
    const vms = this.deps.state.tables.vms.byNetwork(network.id);
    if (vms.length === 0) return;
    const now = vms.filter(({ spec, live }) =>
      [spec, live].some((s) => s?.nics.some((n) => n.networkId === network.id)),
    );
    const why =
      now.length > 0
        ? `${withCards(now)}. ${advice}`
        : `${namesOf(vms.map((v) => v.name))} can go back to cards in it, by a snapshot with memory. Delete that first`;
    throw new ClusterError('IN_USE', `network ${network.name} is in use: ${why}`);
  }

  #refuseLeaving(before: Network, after: Network): void {
    const { tables } = this.deps.state;
    const lost = tables.vms.byNetwork(before.id).filter((v) => {
      const host = v.hostId && tables.hosts.get(v.hostId);
      return host !== undefined && isOneOf(before, host) && !isOneOf(after, host);
    });
    const [first] = lost;
    if (first === undefined) return;
    throw new ClusterError(
      'IN_USE',
      `network ${before.name} is in use on hosts that would lose it: ${withCards(lost)}`,
    );
  }

  #view = (network: Network): NetworkView => viewNetwork(network, this.deps.state.tables, this.deps.hosts);
}

const withCards = (vms: readonly Vm[]): string =>
  `${namesOf(vms.map((v) => v.name))} ${vms.length === 1 ? 'has a card' : 'have cards'} in it`;

/** The bridge that Berth makes is called as the network, where that is a name for one. */
function withBridge(name: string, shape: NetworkShape): NetworkShape {
  if (shape.bridge !== '') return shape;
  if (shape.kind === 'bridge') throw invalidArgument(`network ${name}: which bridge of its hosts? Say --bridge br0`);
  if (/^[a-z]/.test(name) && name.length <= 15) return { ...shape, bridge: name };
  throw invalidArgument(
    `network ${name}: a bridge cannot be called so (15 letters and digits, a letter first): name one with --bridge`,
  );
}

function changesOf(before: Network, after: Network): readonly string[] {
  const other = (a: unknown, b: unknown): boolean => JSON.stringify(a) !== JSON.stringify(b);
  return [
    ...(other(before.labels, after.labels) ? ['labels'] : []),
    ...(other(before.hosts, after.hosts) ? ['hosts'] : []),
    ...(other(before.shape, after.shape) ? ['addresses'] : []),
  ];
}

const namesOf = (vms: readonly string[]): string => {
  const sorted = [...vms].sort();
  const named = sorted.slice(0, 5).join(', ') + (sorted.length > 5 ? ` and ${sorted.length - 5} more` : '');
  return `${vms.length === 1 ? 'vm' : 'vms'} ${named}`;
};
