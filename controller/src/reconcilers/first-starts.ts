/**
 * Starts VMs that were to start as soon as they are made. That is written in their claims: room to run is kept for a VM that is
 * ready, shall be off and that no job works on. So a controller that died in between starts them too, and no room is kept for ever.
 */
import { chain } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { VmId } from '@berth/shared/model/ids.ts';
import { isEnded } from '@berth/shared/model/job.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import type { BatchParams } from '../jobs/vm-batch.ts';
import type { VmParams } from '../jobs/vm-start.ts';
import { vmStart } from '../jobs/vm-start.ts';
import type { State, Tx } from '../state/state.ts';

export interface FirstStartDeps {
  readonly state: State;
  readonly jobs: Pick<Jobs, 'start'>;
  readonly log: Pick<Log, 'warn'>;
}

export class FirstStarts {
  constructor(private readonly deps: FirstStartDeps) {}

  /** Looks at each VM when it was made; at those of a former life when their host is up. @returns a function that ends it. */
  follow(hosts: Pick<Hosts, 'status' | 'subscribe'>): () => void {
    const ends = [this.followJobs(), this.takeUp(hosts)];
    return () => ends.forEach((end) => end());
  }

  private takeUp(hosts: Pick<Hosts, 'status' | 'subscribe'>): () => void {
    const { tables } = this.deps.state;
    const left = new Map(
      [...tables.claims.values()].filter((c) => waits(tables, c.vmId)).map((c) => [c.vmId, c.hostId]),
    );
    return hosts.subscribe((e) => {
      if (left.size === 0 || e.type !== 'status' || hosts.status(e.hostId).state !== 'up') return;
      for (const [vmId, hostId] of left) if (hostId === e.hostId && left.delete(vmId)) this.look(vmId, 'berth');
    });
  }

  private followJobs(): () => void {
    const { state } = this.deps;
    return state.subscribe((change) => {
      for (const id of change.touched.get('jobs') ?? []) {
        const job = state.tables.jobs.get(id);
        if (job === undefined || !isEnded(job.state)) continue;
        const { vmId } = job.params as unknown as VmParams;
        if (job.kind === 'vm.clone' || job.kind === 'vm.create') this.look(vmId, job.user);
        if (job.kind === 'vm.batch')
          for (const { clone } of (job.params as unknown as BatchParams).rows) this.look(clone.vmId, job.user);
        if (job.kind === 'vm.start' && job.state !== 'succeeded') this.release(vmId);
      }
    });
  }

  private look(vmId: VmId, user: string): void {
    this.change(vmId, (tx) => {
      const subject = tx.vms.get(vmId)?.name ?? vmId;
      this.deps.jobs.start(tx, vmStart, { vmId }, { subject, locks: [`vm/${vmId}:exclusive`], user });
    });
  }

  /** It could not be started: the room is for others. */
  private release(vmId: VmId): void {
    this.change(vmId, (tx) => {
      const claim = tx.claims.get(vmId);
      if (claim) tx.claims.put({ ...claim, powered: false });
    });
  }

  private change(vmId: VmId, act: (tx: Tx) => void): void {
    const { state, log } = this.deps;
    if (!waits(state.tables, vmId)) return;
    state
      .update((tx) => void (waits(tx, vmId) && act(tx)))
      .catch((e: unknown) => log.warn(`a vm that was to start when it was made did not: ${chain(e)}`));
  }
}

function waits(tables: Pick<Tx, 'vms' | 'claims' | 'jobs'> | State['tables'], vmId: VmId): boolean {
  const vm = tables.vms.get(vmId);
  if (vm?.phase !== 'ready' || vm.desiredPower === 'on' || tables.claims.get(vmId)?.powered !== true) return false;
  return tables.jobs.holders(`vm/${vmId}`).length === 0;
}
