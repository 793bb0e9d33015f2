/**
 * Keeps hosts in step with the pools of the inventory: a host that comes later, was away, or lost a pool gets it; one that has a
 * pool of ours that nobody knows any more forgets it, which leaves all data where they are. Looked at on a timer and when a host
 * comes up; starts jobs and never talks to agents itself, but for what no job is there for any more.
 */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { isId } from '@berth/shared/model/ids.ts';
import { LOCAL_POOL, type Pool, type PoolSeen } from '@berth/shared/model/pool.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { Turns } from '@berth/shared/runtime/turns.ts';
import { chosen, takesPools } from '../app/pool-hosts.ts';
import { askOnce } from '../hosts/ask-once.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { poolMend } from '../jobs/pools.ts';
import type { State } from '../state/state.ts';
import { Asked } from './asked.ts';
import { Looks } from './looks.ts';
import { lacks, readyHosts, type Ready } from './ready.ts';

export interface PoolKeeperDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly log: Log;
}

const LOOK_EVERY_MS = 15_000;
/** Of one pool. */
const MOST_AT_ONCE = 16;
/** After a host has come up. */
const SOON_MS = 1_000;
/** Hosts that are asked to forget some at the same time, and how many each: one that does not answer holds up no other for long. */
const HOSTS_AT_ONCE = 16;
const MOST_FORGOTTEN = 4;

export class PoolKeeper {
  private readonly asked: Asked;
  private readonly turns = new Turns(HOSTS_AT_ONCE);
  private readonly looks: Looks;

  constructor(private readonly deps: PoolKeeperDeps) {
    this.asked = new Asked(deps.clock);
    this.looks = new Looks(deps, LOOK_EVERY_MS, () => this.lookOnce(), 'the pools of hosts could not be looked at');
  }

  follow(): () => void {
    const ends = [
      this.deps.hosts.subscribe((e) => e.type === 'host' && e.state === 'up' && this.looks.soon(SOON_MS)),
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
    for (const pool of [...tables.pools.values()]) await this.mend(pool, ready);
    await Promise.all([...tables.hosts.values()].map((h) => this.forget(h)));
    this.asked.tidy();
  }

  private ready(): readonly Ready[] {
    const { state, hosts } = this.deps;
    return readyHosts(state.tables, (id) =>
      takesPools(hosts, id)
        ? (hosts.status(id).pools ?? []).map((p) => ({ id: p.poolId, generation: p.generation }))
        : undefined,
    );
  }

  private async mend(pool: Pool, ready: readonly Ready[]): Promise<void> {
    const { state, jobs } = this.deps;
    if (pool.name === LOCAL_POOL || pool.state !== 'ready' || !pool.started) return;
    const key = (h: Host): string => `${pool.id}/${pool.generation}/${h.id}`;
    const isOne = chosen(pool.hosts);
    const lacking = ready.filter((r) => isOne(r.host) && lacks(r, pool)).map((r) => r.host);
    const due = lacking.filter((h) => this.asked.due(key(h))).slice(0, this.free(pool));
    if (due.length === 0) return;
    // VMs may be made in it meanwhile; what people do with the pool itself goes first
    const locks = [`pool/${pool.id}:shared` as const];
    try {
      await state.update((tx) => {
        for (const { id } of due) {
          const params = { poolId: pool.id, verb: 'start' as const, hostIds: [id] };
          const options = { subject: pool.name, locks, key: `pool.mend/${pool.id}/${id}`, user: 'controller' };
          jobs.start(tx, poolMend, params, options);
        }
      });
    } catch (e) {
      if (isClusterError(e, 'RESOURCE_BUSY')) return;
      throw e;
    }
    for (const h of due) this.asked.note(key(h));
  }

  /** How many hosts may begin now. The first of a shared pool puts the mark there that all others look for. */
  private free(pool: Pool): number {
    const holders = this.deps.state.tables.jobs.holders(`pool/${pool.id}`);
    const most = pool.shared && !pool.marked ? 1 : MOST_AT_ONCE;
    return Math.max(0, most - holders.filter((j) => j.kind === poolMend.kind).length);
  }

  private may(host: Host): boolean {
    const { state, hosts } = this.deps;
    return state.tables.reviews.get(host.id) === undefined && takesPools(hosts, host.id);
  }

  private async forget(host: Host): Promise<void> {
    if (!this.may(host)) return;
    const { state, hosts } = this.deps;
    const strange = (hosts.status(host.id).pools ?? []).filter(
      ({ poolId: id }) => isId('pool', id) && !state.tables.pools.get(id) && this.asked.due(`${id}/${host.id}`),
    );
    if (strange.length > 0) await this.turns.run(() => this.remove(host, strange.slice(0, MOST_FORGOTTEN)));
  }

  private async remove(host: Host, strange: readonly Pick<PoolSeen, 'poolId' | 'name'>[]): Promise<void> {
    const { hosts, clock, log } = this.deps;
    for (const { poolId, name } of strange) {
      this.asked.note(`${poolId}/${host.id}`);
      const about = { host: host.name, pool: name };
      try {
        const agent = hosts.agent(host.id);
        const { error } = await askOnce(agent, clock, 'forget', (id) => agent.pools.remove(id, poolId));
        if (error) log.warn({ ...about, why: error.message }, 'a host keeps a pool that is not known any more');
        else log.info(about, 'a host forgot a pool that is not known any more');
      } catch (e) {
        log.warn({ ...about, err: e }, 'a host keeps a pool that is not known any more');
      }
    }
  }
}
