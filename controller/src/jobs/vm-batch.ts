/**
 * Job vm.batch: many VMs of one request, each by a vm.clone of its own, a bounded number at a time. Their rows and claims were put
 * when the job was started, so nobody takes the room meanwhile. What fails leaves the others alone, unless it is atomic: then all
 * are shown at once, or none.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { isReason } from '@berth/shared/errors/reasons.ts';
import { isEnded, type Job } from '@berth/shared/model/job.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, type LocalContext, type LocalStep, type PartRecord, type Wait } from './engine/define.ts';
import { startJob } from './engine/start.ts';
import { imageLocks } from './images-needed.ts';
import { getVm, tellMade } from './making.ts';
import { vmClone, type CloneParams } from './vm-clone.ts';
import { vmDelete } from './vm-delete.ts';

export interface BatchParams {
  readonly rows: readonly { readonly name: string; readonly clone: CloneParams }[];
  readonly atomic: boolean;
}

type Context = LocalContext<BatchParams, object, JobDeps>;
type Row = BatchParams['rows'][number];

/** Jobs under way at a time: so many that hosts have enough to do, and that others get their turn. */
const MOST_AT_ONCE = 64;
const MOST_PER_HOST = 8;
/** How often it looks by itself; the end of a job that it waits for wakes it at once. */
const LOOK_MS = 60_000;
/** Failures told in one line; the others are counted. */
const TOLD = 5;

/** The last to be undone: rows of VMs that were never begun, or whose job ended without taking them. */
const reserve: LocalStep<BatchParams, object, JobDeps, null> = {
  run: () => null,
  undo({ tx, params }) {
    for (const { clone } of params.rows) if (tx.vms.get(clone.vmId)?.phase === 'creating') tx.vms.delete(clone.vmId);
  },
};

const rows: LocalStep<BatchParams, object, JobDeps, { readonly made: number }> = {
  run(c) {
    const changed = look(c);
    const parts = c.parts();
    const failed = [...parts].filter(([, p]) => p.last === 'failed');
    const over = c.params.atomic && failed.length > 0;
    const open = over ? cancelOpen(c) : startMore(c);
    // what was seen to end is kept before this fails: a step that throws leaves nothing written
    if (open > 0 || changed) return wait(open > 0 ? LOOK_MS : 0, `${c.params.rows.length} VMs are being made`);
    if (failed.length > 0) throw summary(c, failed);
    return { made: parts.size };
  },
  undo(c) {
    look(c);
    const why = `making ${c.params.rows.length} VMs is taken back`;
    if (cancelOpen(c) > 0) return wait(LOOK_MS, why);
    return c.params.atomic ? takeBack(c, why) : undefined;
  },
  describe: ({ made }) => `${made} made`,
};

/** Logs which jobs have ended since. */
function look(c: Context): boolean {
  let changed = false;
  for (const [name, p] of c.parts()) {
    const job = p.jobId && c.tables.jobs.get(p.jobId);
    if (p.last !== 'started' || (job && !isEnded(job.state))) continue;
    changed = true;
    const row = c.params.rows.find((r) => r.name === name);
    const vm = row && c.tables.vms.get(row.clone.vmId);
    const made = job ? job.state === 'succeeded' : vm?.phase === 'ready';
    const host = vm?.hostId && c.tables.hosts.get(vm.hostId)?.name;
    if (made) c.logPart(name, 'succeeded', { what: `created on ${host ?? 'no host'}` });
    else c.logPart(name, 'failed', job?.error ?? { reason: 'CANCELLED', message: 'it was cancelled', meta: {} });
  }
  return changed;
}

const openJobs = (c: Context): readonly Job[] =>
  [...c.parts().values()].flatMap((p) => {
    const job = p.last === 'started' && p.jobId ? c.tables.jobs.get(p.jobId) : undefined;
    return job && !isEnded(job.state) ? [job] : [];
  });

/** @returns how many run. */
function cancelOpen(c: Context): number {
  const open = openJobs(c);
  for (const job of open) if (!job.cancelRequested) c.tx.jobs.put({ ...job, cancelRequested: true });
  return open.length;
}

/** @returns how many run. */
function startMore(c: Context): number {
  const parts = c.parts();
  const perHost = new Map<string, number>();
  const hostOf = ({ clone }: Row): string => c.tables.vms.get(clone.vmId)?.hostId ?? '';
  const count = (row: Row) => perHost.set(hostOf(row), (perHost.get(hostOf(row)) ?? 0) + 1);
  const running = c.params.rows.filter((r) => parts.get(r.name)?.last === 'started');
  running.forEach(count);
  let open = running.length;
  for (const row of c.params.rows) {
    if (open >= MOST_AT_ONCE) break;
    if (parts.has(row.name) || (perHost.get(hostOf(row)) ?? 0) >= MOST_PER_HOST) continue;
    count(row);
    begin(c, row);
    open++;
  }
  return open;
}

function begin(c: Context, { name, clone }: Row): void {
  const locks = [`vm/${clone.vmId}:exclusive` as const, ...imageLocks(getVm(c.tables, clone.vmId).spec)];
  const user = c.tables.jobs.get(c.jobId)?.user ?? '';
  const params = { ...clone, ...(c.params.atomic && { hidden: true }) };
  const jobId = startJob(c.tx, vmClone, params, { subject: name, locks, user, waiterOf: c.jobId });
  c.logPart(name, 'started', { jobId });
}

/** Removes the VMs that were made, as people would; nobody could use them yet. */
function takeBack(c: Context, why: string): Wait | undefined {
  let open = 0;
  for (const { name, clone } of c.params.rows) {
    const part = c.parts().get(name);
    if (part === undefined || part.last === 'undo_finished') continue;
    if (removed(c, name, clone, part)) c.logPart(name, 'undo_finished');
    else open++;
  }
  return open > 0 ? wait(LOOK_MS, why) : undefined;
}

function removed(c: Context, name: string, { vmId }: CloneParams, part: PartRecord): boolean {
  const vm = c.tables.vms.get(vmId);
  const begun = part.last === 'undo_started';
  if (!begun) c.logPart(name, 'undo_started');
  // one that failed has taken itself back; its row, if it is left, goes with those that were never begun
  if (vm === undefined || part.last === 'failed') return true;
  if (c.tables.jobs.holders(`vm/${vmId}`).length > 0) return false;
  if (vm.phase === 'creating' && vm.hostId === undefined) return true;
  const user = c.tables.jobs.get(c.jobId)?.user ?? '';
  const locks = [`vm/${vmId}:exclusive` as const];
  startJob(c.tx, vmDelete, { vmId, force: true }, { subject: name, locks, user, waiterOf: c.jobId });
  return false;
}

/** `2 of 20 VMs failed: web-04: no host …; web-07: …`; those that were cancelled because of these are not counted. */
function summary(c: Context, all: readonly (readonly [string, PartRecord])[]): ClusterError {
  const own = all.filter(([, p]) => p.error?.reason !== 'CANCELLED');
  const failed = own.length > 0 ? own : all;
  const lines = failed.slice(0, TOLD).map(([name, p]) => `${name}: ${p.error?.message ?? 'it was cancelled'}`);
  if (failed.length > TOLD) lines.push(`and ${failed.length - TOLD} more`);
  const none = c.params.atomic ? ', so none was made' : '';
  const reason = failed[0]?.[1].error?.reason ?? '';
  return new ClusterError(
    isReason(reason) ? reason : 'INTERNAL',
    `${failed.length} of ${c.params.rows.length} VMs failed${none}: ${lines.join('; ')}`,
  );
}

export const vmBatch = defineJob<BatchParams, JobDeps>('vm.batch', 1)
  .local('reserve', reserve)
  .local('rows', rows)
  .local('publish', {
    run(c) {
      for (const { clone } of c.params.rows) {
        const vm = c.tables.vms.get(clone.vmId);
        if (vm?.phase === 'creating') tellMade(c, vm);
      }
      return null;
    },
  })
  .build();
