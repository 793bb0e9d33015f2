/**
 * Job vm.batch: many VMs of one request, each by a vm.clone of its own, a bounded number at a time. Their rows and claims were put
 * when the job was started, so nobody takes the room meanwhile. What fails leaves the others alone, unless it is atomic: then all
 * are shown at once, or none.
 */
import { isReason } from '@berth/shared/errors/reasons.ts';
import { isEnded, type Job, type JobError, type JobEventType } from '@berth/shared/model/job.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, type LocalContext, type LocalStep } from './engine/define.ts';
import { OtherJobFailed } from './engine/classify.ts';
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
    const members = membersOf(c);
    const changed = look(c, members);
    const over = c.params.atomic && members.some((m) => m.last === 'failed');
    const open = over ? cancelOpen(c, members) : startMore(c, members);
    // what was seen to end is kept before this fails: a step that throws leaves nothing written
    if (open > 0 || changed) return wait(open > 0 ? LOOK_MS : 0, `${members.length} VMs are being made`);
    const failed = members.filter((m) => m.last === 'failed');
    if (failed.length > 0) throw summary(c, failed);
    return { made: members.length };
  },
  undo(c) {
    const members = membersOf(c);
    look(c, members);
    const why = `making ${members.length} VMs is taken back`;
    if (cancelOpen(c, members) > 0) return wait(LOOK_MS, why);
    return c.params.atomic && takeBack(c, members) > 0 ? wait(LOOK_MS, why) : undefined;
  },
  describe: ({ made }) => `${made} made`,
};

/** A row, and what is logged of it; read once each time that the step is run, and kept up to date. */
interface Member {
  readonly row: Row;
  last: JobEventType | undefined;
  job: Job | undefined;
  error: JobError | undefined;
}

function membersOf(c: Context): readonly Member[] {
  const parts = c.parts();
  return c.params.rows.map((row) => {
    const part = parts.get(row.name);
    return { row, last: part?.last, job: part?.jobId && c.tables.jobs.get(part.jobId), error: part?.error };
  });
}

function log(c: Context, m: Member, type: JobEventType, data?: Parameters<Context['logPart']>[2]): void {
  c.logPart(m.row.name, type, data);
  m.last = type;
}

const vmOf = (c: Context, { row }: Member): Vm | undefined => c.tables.vms.get(row.clone.vmId);

/** Logs which jobs have ended since. What is `started` after this has an open job. */
function look(c: Context, members: readonly Member[]): boolean {
  let changed = false;
  for (const m of members) {
    if (m.last !== 'started' || (m.job && !isEnded(m.job.state))) continue;
    changed = true;
    const vm = vmOf(c, m);
    const host = vm?.hostId && c.tables.hosts.get(vm.hostId)?.name;
    if (m.job ? m.job.state === 'succeeded' : vm?.phase === 'ready') {
      log(c, m, 'succeeded', { what: `created on ${host ?? 'no host'}` });
      continue;
    }
    m.error = m.job?.error ?? { reason: 'CANCELLED', message: 'it was cancelled', meta: {} };
    log(c, m, 'failed', m.error);
  }
  return changed;
}

/** @returns how many run. */
function cancelOpen(c: Context, members: readonly Member[]): number {
  const open = members.filter((m) => m.last === 'started');
  for (const { job } of open) if (job && !job.cancelRequested) c.tx.jobs.put({ ...job, cancelRequested: true });
  return open.length;
}

/** Counts what is under way, in all and at each host. */
class Turns {
  open = 0;
  readonly #perHost = new Map<string, number>();

  constructor(private readonly c: Context) {}

  count(m: Member): void {
    const host = vmOf(this.c, m)?.hostId ?? '';
    this.#perHost.set(host, (this.#perHost.get(host) ?? 0) + 1);
    this.open++;
  }

  /** Whether one more may begin there. */
  has(m: Member): boolean {
    const host = vmOf(this.c, m)?.hostId ?? '';
    return this.open < MOST_AT_ONCE && (this.#perHost.get(host) ?? 0) < MOST_PER_HOST;
  }
}

/** @returns how many run. */
function startMore(c: Context, members: readonly Member[]): number {
  const turns = new Turns(c);
  for (const m of members) if (m.last === 'started') turns.count(m);
  for (const m of members) {
    if (turns.open >= MOST_AT_ONCE) break;
    if (m.last !== undefined || !turns.has(m)) continue;
    turns.count(m);
    begin(c, m);
  }
  return turns.open;
}

function begin(c: Context, m: Member): void {
  const { name, clone } = m.row;
  const locks = [`vm/${clone.vmId}:exclusive` as const, ...imageLocks(getVm(c.tables, clone.vmId).spec)];
  const params = { ...clone, ...(c.params.atomic && { hidden: true }) };
  const jobId = startJob(c.tx, vmClone, params, { subject: name, locks, user: userOf(c), waiterOf: c.jobId });
  log(c, m, 'started', { jobId });
}

const userOf = (c: Context): string => c.tables.jobs.get(c.jobId)?.user ?? '';

/** Removes the VMs that were made, as people would; nobody could use them yet. @returns how many are left. */
function takeBack(c: Context, members: readonly Member[]): number {
  const left = members.filter((m) => m.last !== undefined && m.last !== 'undo_finished' && !isGone(c, m));
  const turns = new Turns(c);
  const [going, staying] = [left.filter((m) => isHeld(c, m)), left.filter((m) => !isHeld(c, m))];
  for (const m of going) turns.count(m);
  for (const m of staying) {
    if (turns.open >= MOST_AT_ONCE) break;
    if (!turns.has(m)) continue;
    turns.count(m);
    remove(c, m);
  }
  return left.length;
}

/** One that failed has taken itself back; its row, if it is left, goes with those that were never begun. */
function isGone(c: Context, m: Member): boolean {
  const vm = vmOf(c, m);
  const isThere = vm && m.last !== 'failed' && (vm.phase !== 'creating' || vm.hostId !== undefined || isHeld(c, m));
  if (isThere) return false;
  if (m.last !== 'undo_started') log(c, m, 'undo_started');
  log(c, m, 'undo_finished');
  return true;
}

const isHeld = (c: Context, { row }: Member): boolean => c.tables.jobs.holders(`vm/${row.clone.vmId}`).length > 0;

function remove(c: Context, m: Member): void {
  if (m.last !== 'undo_started') log(c, m, 'undo_started');
  const { vmId } = m.row.clone;
  const locks = [`vm/${vmId}:exclusive` as const];
  const options = { subject: m.row.name, locks, user: userOf(c), waiterOf: c.jobId };
  startJob(c.tx, vmDelete, { vmId, force: true }, options);
}

/** `2 of 20 VMs failed: web-04: no host …; web-07: …`; those that were cancelled because of these are not counted. */
function summary(c: Context, all: readonly Member[]): OtherJobFailed {
  const own = all.filter((m) => m.error?.reason !== 'CANCELLED');
  const failed = own.length > 0 ? own : all;
  const lines = failed.slice(0, TOLD).map((m) => `${m.row.name}: ${m.error?.message ?? 'it was cancelled'}`);
  if (failed.length > TOLD) lines.push(`and ${failed.length - TOLD} more`);
  const none = c.params.atomic ? ', so none was made' : '';
  const reason = failed[0]?.error?.reason ?? '';
  return new OtherJobFailed(
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
