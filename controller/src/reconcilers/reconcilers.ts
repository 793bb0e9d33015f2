/** All reconcilers, put together: what hosts tell them, and when they begin and end. Each is a file beside this one. */
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { HostsOptions } from '../hosts/connections.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import type { State } from '../state/state.ts';
import { acknowledgeEnded } from './acknowledge.ts';
import { Debts } from './debts.ts';
import { PowerFollower } from './power.ts';
import { Restarts } from './restarts.ts';

export interface ReconcilerDeps {
  readonly state: State;
  readonly clock: Clock;
  readonly log: Log;
  /** One process life. */
  readonly runId: string;
}

export class Reconcilers {
  private readonly debts: Debts;
  private readonly power: PowerFollower;
  private restarts: Restarts | undefined;
  private ends: readonly (() => void)[] = [];

  constructor(private readonly deps: ReconcilerDeps) {
    this.debts = new Debts(deps);
    this.power = new PowerFollower(deps.state, deps.log);
  }

  /** What the connections call. */
  readonly hooks: Required<Pick<HostsOptions, 'prepare' | 'onPower' | 'onUp'>> = {
    prepare: (hostId, agent) => this.debts.pay(hostId, agent),
    onPower: (edge) => {
      this.power.see(edge);
      this.restarts?.see(edge);
    },
    onUp: (host, agent) => {
      const { state, log, runId } = this.deps;
      acknowledgeEnded(state.tables, host, agent, runId).catch((e: unknown) =>
        log.debug({ err: e, hostId: host.id }, 'operations of ended jobs were not acknowledged'),
      );
    },
  };

  start(hosts: Hosts, jobs: Jobs): void {
    const restarts = (this.restarts = new Restarts({ ...this.deps, hosts, jobs }));
    this.ends = [this.debts.follow(hosts), this.power.follow(hosts), () => restarts.stop()];
  }

  stop(): void {
    for (const end of this.ends) end();
  }
}
