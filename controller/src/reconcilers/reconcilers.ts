/** All reconcilers, put together: what hosts tell them, and when they begin and end. Each is a file beside this one. */
import type { Log } from '@berth/shared/log/log.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { isEnded } from '@berth/shared/model/job.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { AgentClient } from '../hosts/agent-client.ts';
import type { HostsOptions } from '../hosts/connections.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import type { State } from '../state/state.ts';
import { acknowledgeEnded } from './acknowledge.ts';
import { Debts } from './debts.ts';
import { FillingKeeper } from './fillings.ts';
import { FirstStarts } from './first-starts.ts';
import { ImageCopiesKeeper } from './image-copies.ts';
import { NetworkKeeper } from './networks.ts';
import { PoolKeeper } from './pools.ts';
import { PowerFollower } from './power.ts';
import { Restarts } from './restarts.ts';
import { TuningKeeper } from './tuning.ts';

export interface ReconcilerDeps {
  readonly state: State;
  readonly clock: Clock;
  readonly log: Log;
  /** One process life. */
  readonly runId: string;
  /** How long copies of images stay that nothing needs. Infinity: as long as there is room. */
  readonly unusedCopiesMs?: number;
}

export class Reconcilers {
  private readonly debts: Debts;
  private readonly power: PowerFollower;
  private readonly tuning: TuningKeeper;
  private restarts: Restarts | undefined;
  private ends: readonly (() => void)[] = [];
  /** Operations that hosts under review still keep. */
  private readonly kept = new Map<HostId, readonly string[]>();

  constructor(private readonly deps: ReconcilerDeps) {
    this.debts = new Debts(deps);
    this.tuning = new TuningKeeper(deps);
    this.power = new PowerFollower(deps.state, deps.clock, deps.log);
  }

  /** What the connections call. */
  readonly hooks: Required<Pick<HostsOptions, 'prepare' | 'onPower' | 'onUp'>> = {
    prepare: (hostId, agent) => (this.isReviewed(hostId) ? undefined : this.debts.pay(hostId, agent)),
    onPower: (edge) => {
      if (this.isReviewed(edge.hostId)) return;
      this.power.see(edge);
      this.restarts?.see(edge);
    },
    onUp: (host, agent) => {
      if (this.isReviewed(host.id)) this.kept.set(host.id, host.operationIds);
      else {
        this.acknowledge(host, agent);
        void this.tuning.see(host.id, agent);
      }
    },
  };

  /** Nothing is done unasked on a host between a restore and the word of a person. */
  private isReviewed(hostId: HostId): boolean {
    return this.deps.state.tables.reviews.get(hostId) !== undefined;
  }

  private acknowledge(
    host: { readonly id: HostId; readonly operationIds: readonly string[] },
    agent: AgentClient,
  ): void {
    const { state, log, runId } = this.deps;
    acknowledgeEnded(state.tables, host, agent, runId).catch((e: unknown) =>
      log.debug({ err: e, hostId: host.id }, 'operations of ended jobs were not acknowledged'),
    );
  }

  /** What was held back while the host was reviewed. */
  private catchUp(hosts: Pick<Hosts, 'agent'>): void {
    for (const [id, operationIds] of this.kept) {
      if (this.isReviewed(id)) continue;
      this.kept.delete(id);
      void this.settle({ id, operationIds }, hosts);
    }
  }

  /**
   * Ends what still runs for jobs that this inventory does not have, such as a fetch that waits for a source for ever, and
   * leaves a tombstone; what has ended stays as it is.
   */
  private async settle(
    host: { readonly id: HostId; readonly operationIds: readonly string[] },
    hosts: Pick<Hosts, 'agent'>,
  ): Promise<void> {
    try {
      const agent = hosts.agent(host.id);
      for (const id of host.operationIds) {
        const job = this.deps.state.tables.jobs.get(id.split('.')[0] ?? '');
        if (job === undefined || isEnded(job.state)) await agent.cancelOperation(id);
      }
      this.acknowledge(host, agent);
      void this.tuning.see(host.id, agent);
    } catch (e) {
      this.deps.log.warn({ err: e, hostId: host.id }, 'operations of before the restore could not be ended');
    }
  }

  start(hosts: Hosts, jobs: Jobs): void {
    const restarts = (this.restarts = new Restarts({ ...this.deps, hosts, jobs }));
    const first = new FirstStarts({ ...this.deps, jobs });
    this.ends = [
      this.debts.follow(hosts),
      this.power.follow(hosts),
      first.follow(hosts),
      new PoolKeeper({ ...this.deps, hosts, jobs }).follow(),
      new NetworkKeeper({ ...this.deps, hosts, jobs }).follow(),
      new FillingKeeper(this.deps).follow(hosts),
      () => restarts.stop(),
      new ImageCopiesKeeper({ ...this.deps, hosts, jobs, unusedMs: this.deps.unusedCopiesMs ?? Infinity }).start(),
      this.deps.state.subscribe((change) => change.touched.has('reviews') && this.catchUp(hosts)),
    ];
  }

  stop(): void {
    for (const end of this.ends) end();
  }
}
