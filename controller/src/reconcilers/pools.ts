/**
 * Keeps hosts in step with the pools of the inventory: a host that comes later, was away, or lost a pool gets it; one that has a
 * pool of ours that nobody knows any more forgets it, which leaves all data where they are. Looked at on a timer and when a host
 * comes up; starts jobs and never talks to agents itself, but for what no job is there for any more.
 */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { isId } from '@berth/shared/model/ids.ts';
import { LOCAL_POOL, type Pool } from '@berth/shared/model/pool.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { hostsOf, seenOn, takesPools } from '../app/pool-hosts.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { poolMend } from '../jobs/pools.ts';
import type { State } from '../state/state.ts';

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
/** A host that refused is asked again after so long. */
const AGAIN_MS = 120_000;

export class PoolKeeper {
  private timer: Timer | undefined;
  private readonly asked = new Map<string, number>();
  private looking = false;

  constructor(private readonly deps: PoolKeeperDeps) {}

  follow(): () => void {
    const end = this.deps.hosts.subscribe((e) => e.type === 'host' && e.state === 'up' && this.soon(1_000));
    this.soon(LOOK_EVERY_MS);
    return () => {
      end();
      this.timer?.cancel();
    };
  }

  private soon(ms: number): void {
    this.timer?.cancel();
    this.timer = this.deps.clock.after(ms, () => {
      void this.look().finally(() => this.soon(LOOK_EVERY_MS));
    });
  }

  /** Never rejects. */
  async look(): Promise<void> {
    if (this.looking) return;
    this.looking = true;
    try {
      for (const pool of [...this.deps.state.tables.pools.values()]) await this.mend(pool);
      for (const host of [...this.deps.state.tables.hosts.values()]) await this.forget(host);
    } catch (e) {
      this.deps.log.warn({ err: e }, 'the pools of hosts could not be looked at');
    } finally {
      this.looking = false;
    }
  }

  private async mend(pool: Pool): Promise<void> {
    const { state, jobs } = this.deps;
    if (pool.name === LOCAL_POOL || pool.state !== 'ready' || !pool.started) return;
    const lacking = hostsOf(pool, state.tables).filter((h) => this.may(h) && this.lacks(pool, h));
    const due = lacking.filter((h) => this.due(`${pool.id}/${h.id}`)).slice(0, this.free(pool));
    if (due.length === 0) return;
    // VMs may be made in it meanwhile; what people do with the pool itself goes first
    const locks = [`pool/${pool.id}:shared` as const];
    try {
      await state.update((tx) => {
        for (const { id } of due) {
          const params = { poolId: pool.id, verb: 'start' as const, hostIds: [id] };
          const key = `pool.mend/${pool.id}/${id}`;
          jobs.start(tx, poolMend, params, { subject: pool.name, locks, key, user: 'controller' });
        }
      });
    } catch (e) {
      if (isClusterError(e, 'RESOURCE_BUSY')) return;
      throw e;
    }
    for (const { id } of due) this.asked.set(`${pool.id}/${id}`, this.deps.clock.monotonic());
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

  /** What it starts by itself, once told, is its own business. */
  private lacks(pool: Pool, host: Host): boolean {
    const seen = seenOn(this.deps.hosts.status(host.id), pool.id);
    return seen === undefined || seen.generation < pool.generation;
  }

  private due(key: string): boolean {
    const at = this.asked.get(key);
    return at === undefined || this.deps.clock.monotonic() - at > AGAIN_MS;
  }

  private async forget(host: Host): Promise<void> {
    const { state, hosts, clock, log } = this.deps;
    if (!this.may(host)) return;
    for (const { poolId, name } of hosts.status(host.id).pools ?? []) {
      if (!isId('pool', poolId) || state.tables.pools.get(poolId) || !this.due(`${poolId}/${host.id}`)) continue;
      this.asked.set(`${poolId}/${host.id}`, clock.monotonic());
      try {
        await hosts.agent(host.id).pools.remove(`forget.${poolId}.${clock.now()}`, poolId);
        log.info({ host: host.name, pool: name }, 'a host forgot a pool that is not known any more');
      } catch (e) {
        log.warn({ err: e, host: host.name, pool: name }, 'a host keeps a pool that is not known any more');
      }
    }
  }
}
