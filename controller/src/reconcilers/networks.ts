/**
 * Keeps hosts in step with the networks of the inventory: a host that comes later, was away, or gets the label of a network gets what
 * is to be made for it; one that has a network of ours that nobody knows any more, or that is for other hosts now, loses it. Looked at
 * on a timer and when a host comes up; starts jobs, and talks to agents only about what no job is there for any more.
 */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { isId, type NetworkId } from '@berth/shared/model/ids.ts';
import type { Network, NetworkSeen } from '@berth/shared/model/network.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { Turns } from '@berth/shared/runtime/turns.ts';
import { isMade, takesNetworks } from '../app/network-hosts.ts';
import { chosen, isOneOf } from '../app/pool-hosts.ts';
import { askOnce } from '../hosts/ask-once.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { networkMend } from '../jobs/networks.ts';
import type { State } from '../state/state.ts';
import { Asked } from './asked.ts';
import { Looks } from './looks.ts';
import { lacks, readyHosts, type Ready } from './ready.ts';

export interface NetworkKeeperDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly log: Log;
}

const LOOK_EVERY_MS = 15_000;
/** After a change of networks or hosts. */
const SOON_MS = 1_000;
/** Of one network. */
const MOST_AT_ONCE = 16;
/** Hosts that are asked to let go of some at the same time, and how many each: one that does not answer holds up no other for long. */
const HOSTS_AT_ONCE = 16;
const MOST_FORGOTTEN = 4;
export class NetworkKeeper {
  private readonly asked: Asked;
  private readonly turns = new Turns(HOSTS_AT_ONCE);
  private readonly looks: Looks;

  constructor(private readonly deps: NetworkKeeperDeps) {
    this.asked = new Asked(deps.clock);
    const failed = 'the networks of hosts could not be looked at';
    this.looks = new Looks(deps, LOOK_EVERY_MS, () => this.lookOnce(), failed);
  }

  follow(): () => void {
    const { hosts, state } = this.deps;
    const soon = (): void => this.looks.soon(SOON_MS);
    const ends = [
      hosts.subscribe((e) => e.type === 'host' && e.state === 'up' && soon()),
      state.subscribe((c) => (c.touched.has('networks') || c.touched.has('hosts')) && soon()),
      this.looks.begin(),
    ];
    return () => {
      for (const end of ends) end();
    };
  }

  /** Never rejects. */
  look(): Promise<void> {
    return this.looks.now();
  }

  private async lookOnce(): Promise<void> {
    const { tables } = this.deps.state;
    const ready = this.ready();
    for (const network of [...tables.networks.values()]) await this.mend(network, ready);
    await Promise.all([...tables.hosts.values()].map((h) => this.forget(h)));
    this.asked.tidy();
  }

  private ready(): readonly Ready[] {
    const { state, hosts } = this.deps;
    return readyHosts(state.tables, (id) =>
      takesNetworks(hosts, id)
        ? (hosts.status(id).networks ?? []).map((n) => ({ id: n.networkId, generation: n.generation }))
        : undefined,
    );
  }

  private async mend(network: Network, ready: readonly Ready[]): Promise<void> {
    const { state, jobs } = this.deps;
    if (!isMade(network) || network.state !== 'ready') return;
    const key = (h: Host): string => `${network.id}/${network.generation}/${h.id}`;
    const isOne = chosen(network.hosts);
    const lacking = ready.filter((r) => isOne(r.host) && lacks(r, network)).map((r) => r.host);
    const due = lacking.filter((h) => this.asked.due(key(h))).slice(0, this.free(network));
    if (due.length === 0) return;
    const locks = [`network/${network.id}:shared` as const];
    try {
      await state.update((tx) => {
        for (const { id } of due) {
          const params = { networkId: network.id, hostIds: [id] };
          const options = { subject: network.name, locks, key: `network.mend/${network.id}/${id}`, user: 'controller' };
          jobs.start(tx, networkMend, params, options);
        }
      });
    } catch (e) {
      if (isClusterError(e, 'RESOURCE_BUSY')) return;
      throw e;
    }
    for (const h of due) this.asked.note(key(h));
  }

  private free(network: Network): number {
    const holders = this.deps.state.tables.jobs.holders(`network/${network.id}`);
    return Math.max(0, MOST_AT_ONCE - holders.filter((j) => j.kind === networkMend.kind).length);
  }

  private may(host: Host): boolean {
    const { state, hosts } = this.deps;
    return state.tables.reviews.get(host.id) === undefined && takesNetworks(hosts, host.id);
  }

  private async forget(host: Host): Promise<void> {
    if (!this.may(host)) return;
    const strange = (this.deps.hosts.status(host.id).networks ?? []).filter(
      ({ networkId: id }) => isId('network', id) && !this.belongs(id, host) && this.asked.due(`${id}/${host.id}`),
    );
    if (strange.length > 0) await this.turns.run(() => this.remove(host, strange.slice(0, MOST_FORGOTTEN)));
  }

  private async remove(host: Host, strange: readonly Pick<NetworkSeen, 'networkId' | 'name'>[]): Promise<void> {
    const { hosts, clock, log } = this.deps;
    for (const { networkId, name } of strange) {
      // it may have become one of its hosts while others were asked
      if (isId('network', networkId) && this.belongs(networkId, host)) continue;
      this.asked.note(`${networkId}/${host.id}`);
      const about = { host: host.name, network: name };
      try {
        const agent = hosts.agent(host.id);
        const { error } = await askOnce(agent, clock, 'forget', (id) => agent.networks.remove(id, networkId));
        if (error) log.warn({ ...about, why: error.message }, 'a host keeps a network that is not for it any more');
        else log.info(about, 'a host lost a network that is not for it any more');
      } catch (e) {
        log.warn({ ...about, err: e }, 'a host keeps a network that is not for it any more');
      }
    }
  }

  /** One that is being made or removed is a job's. */
  private belongs(networkId: NetworkId, host: Host): boolean {
    const network = this.deps.state.tables.networks.get(networkId);
    return network !== undefined && (network.state !== 'ready' || isOneOf(network, host));
  }
}
