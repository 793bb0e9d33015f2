/**
 * Starts again, on its own host and nowhere else, what shall run and does not: a VM that crashed or was lost with its host's
 * power (run policies `restartOnFailure` and `always`), and one that shut itself down (`always` only). Only what a reachable
 * host with a whole list of domains reports counts. Tries less and less often; a guest that ran for a while starts afresh.
 */
import { chain } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { VmId } from '@berth/shared/model/ids.ts';
import type { Vm, VmObserved } from '@berth/shared/model/vm.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { PowerEdge } from '../hosts/reports.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { vmStart } from '../jobs/vm-start.ts';
import type { State, Tx } from '../state/state.ts';

const FIRST_MS = 1_000;
const NEXT_MS = 10_000;
const LAST_MS = 5 * 60_000;
/** What ran for so long did not crash because of its start. */
const STABLE_MS = 10 * 60_000;

export interface RestartDeps {
  readonly state: State;
  readonly hosts: Pick<Hosts, 'status' | 'view' | 'vm'>;
  readonly jobs: Pick<Jobs, 'start'>;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn'>;
}

interface Watched {
  timer: Timer | undefined;
  tries: number;
  runningSinceMs: number | undefined;
}

export class Restarts {
  private readonly watched = new Map<VmId, Watched>();

  constructor(private readonly deps: RestartDeps) {}

  see(edge: PowerEdge): void {
    const known = this.watched.get(edge.vmId);
    if (edge.after === 'running') {
      known?.timer?.cancel();
      if (known) known.runningSinceMs = this.deps.clock.monotonic();
      return;
    }
    if (edge.after === 'paused' || edge.after === 'suspended') return known?.timer?.cancel(); // it has not ended
    if (!this.shallRun(edge.vmId)) return this.forget(edge.vmId);
    const w = known ?? { timer: undefined, tries: 0, runningSinceMs: undefined };
    this.watched.set(edge.vmId, w);
    const ranMs = w.runningSinceMs === undefined ? 0 : this.deps.clock.monotonic() - w.runningSinceMs;
    if (ranMs >= STABLE_MS) w.tries = 0;
    w.runningSinceMs = undefined;
    this.plan(edge.vmId, w);
  }

  stop(): void {
    for (const { timer } of this.watched.values()) timer?.cancel();
    this.watched.clear();
  }

  private forget(vmId: VmId): void {
    this.watched.get(vmId)?.timer?.cancel();
    this.watched.delete(vmId);
  }

  private plan(vmId: VmId, w: Watched): void {
    w.timer?.cancel();
    const ms = w.tries === 0 ? FIRST_MS : Math.min(LAST_MS, NEXT_MS * 2 ** Math.min(w.tries - 1, 16));
    w.timer = this.deps.clock.after(ms, () => this.look(vmId, w));
  }

  private shallRun(vmId: VmId): Vm | undefined {
    const vm = this.deps.state.tables.vms.get(vmId);
    return vm?.phase === 'ready' && vm.desiredPower === 'on' && vm.spec.runPolicy !== 'manual' ? vm : undefined;
  }

  private look(vmId: VmId, w: Watched): void {
    const vm = this.shallRun(vmId);
    if (vm === undefined) return this.forget(vmId);
    const observed = this.deps.hosts.vm(vmId);
    if (observed?.power === 'running') return;
    const known = vm.hostId !== undefined && this.deps.hosts.view(vm.hostId).complete;
    const up = vm.hostId !== undefined && this.deps.hosts.status(vm.hostId).state === 'up';
    const busy = this.deps.state.tables.jobs.holders(`vm/${vmId}`).length > 0;
    if (known && up && !busy && observed && hasFailed(vm, observed)) this.start(vm, observed, ++w.tries);
    this.plan(vmId, w);
  }

  private start(vm: Vm, observed: VmObserved, tries: number): void {
    this.deps.state
      .update((tx) => {
        tell(tx, vm, observed, tries);
        const locks = [`vm/${vm.id}:exclusive`] as const;
        this.deps.jobs.start(tx, vmStart, { vmId: vm.id }, { subject: vm.name, locks, user: 'berth' });
      })
      .catch((e: unknown) => this.deps.log.warn(`vm ${vm.name} could not be started again: ${chain(e)}`));
  }
}

/** What an operator did to the guest on its host is no failure. */
const ON_PURPOSE = /^(shutdown|saved|destroyed|migrated)\b/;

function hasFailed(vm: Vm, { power, reason }: VmObserved): boolean {
  if (power === 'crashed') return true;
  return power === 'stopped' && (vm.spec.runPolicy === 'always' || !ON_PURPOSE.test(reason));
}

function tell(tx: Tx, vm: Vm, { power, reason }: VmObserved, tries: number): void {
  const host = (vm.hostId && tx.hosts.get(vm.hostId)?.name) ?? '';
  const again = tries === 1 ? '' : ` (try ${tries})`;
  tx.event({
    type: 'vm.restarting',
    severity: 'warning',
    subjectKind: 'vm',
    subject: vm.name,
    message: `vm ${vm.name} ${[power, reason].includes('crashed') ? 'crashed' : 'stopped'} on ${host}: starting it again${again}`,
    jobId: undefined,
  });
}
