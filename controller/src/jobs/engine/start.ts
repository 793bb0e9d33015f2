/** Starting, joining and leaving jobs, all inside an update: locks and keys. Nothing here drives a job. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { newId, type JobId } from '@berth/shared/model/ids.ts';
import { isEnded, type Job, type JobEvent, type Json } from '@berth/shared/model/job.ts';
import type { Tx } from '../../state/state.ts';
import { OtherJobFailed } from './classify.ts';
import { traceOfStart } from './trace.ts';
import { wait, type JobDef, type LocalContext, type Wait } from './define.ts';
import type { LockName, StartOptions } from './jobs.ts';

const LOCK = /^(.+):(shared|exclusive)$/;

/** Takes the locks and inserts the job, or joins the one with the same key. Throws RESOURCE_BUSY. */
export function startJob<P, D>(tx: Tx, def: JobDef<P, D>, params: P, o: StartOptions): JobId {
  const running = o.key === undefined ? undefined : tx.jobs.byKey(o.key);
  if (running) return join(tx, running, o.waiterOf);
  for (const lock of o.locks ?? []) refuseHeld(tx, lock, o);
  if (o.waiterOf === undefined) refuseTooMany(tx, o);
  const id = newId('job', tx.nowMs);
  tx.jobs.put({
    id,
    kind: def.kind,
    version: def.version,
    params: JSON.parse(JSON.stringify(params)) as Json,
    state: 'running',
    subject: o.subject,
    locks: o.locks ?? [],
    key: o.key,
    // A keyed job that a person started has itself as waiter: it stays when jobs that joined it leave.
    waiters: o.waiterOf ? [o.waiterOf] : o.key === undefined ? [] : [id],
    user: o.user,
    ...(o.labels ? { labels: o.labels } : labelsOf(tx, params)),
    createdAtMs: tx.nowMs,
    endedAtMs: undefined,
    deadlineAtMs: def.deadlineMs === undefined ? undefined : tx.nowMs + def.deadlineMs,
    wakeAtMs: undefined,
    waitReason: undefined,
    cancelRequested: false,
    error: undefined,
    ...traceOfStart(),
  });
  return id;
}

/** What jobs start on behalf of jobs is not counted: it is bounded by those. */
function refuseTooMany(tx: Tx, { user, mostPerUser }: StartOptions): void {
  if (mostPerUser === undefined || !tx.users.byName(user)) return; // the controller's own are not counted
  if (tx.jobs.openSize < mostPerUser) return;
  const own = tx.jobs.open().filter((j) => j.user === user && j.waiters.length === 0).length;
  if (own < mostPerUser) return;
  throw new ClusterError(
    'RATE_LIMITED',
    `${user} has ${own} jobs under way, and may have no more: wait until some have ended (berth job list --open)`,
    { retryAfterMs: '1000' },
  );
}

/** Known while the VM is there; a job that takes it away is still to be seen afterwards. */
function labelsOf(tx: Tx, params: unknown): Pick<Job, 'labels'> {
  const { vmId, volumeId } = (params ?? {}) as { vmId?: unknown; volumeId?: unknown };
  const vm = typeof vmId === 'string' ? tx.vms.get(vmId) : undefined;
  const volume = typeof volumeId === 'string' ? tx.volumes.get(volumeId) : undefined;
  const labels = vm?.spec.labels ?? volume?.labels ?? labelsOfHidden(tx, params);
  return labels ? { labels } : {};
}

/** Of what was captured to clone a VM: it is named after that VM. Images of other kinds are everybody's. */
function labelsOfHidden(tx: Tx, params: unknown): Job['labels'] {
  const { imageId, imageIds } = (params ?? {}) as { imageId?: unknown; imageIds?: unknown };
  const ids: readonly unknown[] = [imageId, ...(Array.isArray(imageIds) ? (imageIds as unknown[]) : [])];
  const images = ids.flatMap((id) => (typeof id === 'string' ? (tx.images.get(id) ?? []) : []));
  const hidden = images.find((i) => i.hidden === true);
  return hidden && (hidden.ownerLabels ?? {});
}

function refuseHeld(tx: Tx, lock: LockName, o: StartOptions): void {
  const [, object, mode] = LOCK.exec(lock) ?? [];
  if (!object) throw new Error(`BUG: ${lock} is no lock`);
  const holder = tx.jobs.holder(object, mode === 'shared');
  if (!holder) return;
  throw busy(`${o.subject} is busy: ${words(holder)} holds it. Wait for that job, or cancel it`, holder);
}

const words = (j: Job): string => `job ${j.id} (${j.kind} ${j.subject})`;
const busy = (message: string, j: Job): ClusterError =>
  new ClusterError('RESOURCE_BUSY', message, { jobId: j.id, kind: j.kind, subject: j.subject });

export const isDying = (j: Job): boolean => j.cancelRequested || j.state === 'unwinding' || j.state === 'stuck';

function join(tx: Tx, job: Job, waiterOf: JobId | undefined): JobId {
  if (isDying(job)) throw busy(`${words(job)} is being taken back; try again when it has ended`, job);
  const waiter = waiterOf ?? job.id;
  if (!job.waiters.includes(waiter)) tx.jobs.put({ ...job, waiters: [...job.waiters, waiter] });
  return job.id;
}

/** What the job holds alone, others may hold with it from now on. */
export function shareLocks(tx: Tx, jobId: JobId): void {
  const job = tx.jobs.get(jobId);
  if (job) tx.jobs.put({ ...job, locks: job.locks.map((l) => l.replace(/:exclusive$/, ':shared')) });
}

/** What the job holds is no business of its any more. */
export function dropLocks(tx: Tx, jobId: JobId): void {
  const job = tx.jobs.get(jobId);
  if (job && job.locks.length > 0) tx.jobs.put({ ...job, locks: [] });
}

/** Leaves a joined job; when nobody is left who waits for it, it is cancelled. Twice is once. */
export function leaveJob(tx: Tx, jobId: JobId, waiter: JobId): void {
  const job = tx.jobs.get(jobId);
  if (!job || isEnded(job.state) || !job.waiters.includes(waiter)) return;
  const waiters = job.waiters.filter((w) => w !== waiter);
  tx.jobs.put({ ...job, waiters, cancelRequested: job.cancelRequested || waiters.length === 0 });
}

export interface Joined {
  readonly jobId: JobId;
}

/** How often a join looks by itself; the end of the joined job nudges at once. */
const LOOK_MS = 60_000;

/**
 * For `run` of a local step: starts or joins a keyed job and waits until it has ended; fails with its error. The step's
 * `undo` must be `leaveJoined`.
 */
export function joinJob<P, D>(
  c: Pick<LocalContext, 'tx' | 'jobId' | 'memo'>,
  def: JobDef<P, D>,
  params: P,
  o: Omit<StartOptions, 'waiterOf'> & { readonly key: string },
): Joined | Wait {
  const joined = joinedJob(c.memo);
  const job = joined === undefined ? undefined : c.tx.jobs.get(joined);
  if (job && !isEnded(job.state)) return wait(LOOK_MS, `waits for ${words(job)}`, c.memo);
  if (job) return endOf(job);
  const running = c.tx.jobs.byKey(o.key);
  if (running && isDying(running)) return wait(1_000, `waits until ${words(running)} has been taken back`);
  const jobId = startJob(c.tx, def, params, { ...o, waiterOf: c.jobId });
  return wait(LOOK_MS, `waits for ${words(c.tx.jobs.get(jobId)!)}`, { joined: jobId });
}

/** `undo` of a step that used joinJob. */
export function leaveJoined(c: Pick<LocalContext, 'tx' | 'jobId' | 'memo'>): void {
  const joined = joinedJob(c.memo);
  if (joined !== undefined) leaveJob(c.tx, joined, c.jobId);
}

/** The job that a step of this log waits for, as long as the step has not ended. */
export function joinedIn(log: readonly JobEvent[], step: string): JobId | undefined {
  const last = log.findLast((e) => e.step === step);
  return last?.type === 'started' ? joinedJob((last.data as { memo?: Json } | undefined)?.memo) : undefined;
}

function joinedJob(memo: Json | undefined): JobId | undefined {
  return (memo as { joined?: JobId } | undefined)?.joined;
}

function endOf(job: Job): Joined {
  if (job.state === 'succeeded') return { jobId: job.id };
  const e = job.error;
  const reason = (e?.reason ?? 'CANCELLED') as ClusterError['reason'];
  throw new OtherJobFailed(reason, `${job.kind} ${job.subject} failed: ${e?.message ?? 'it was cancelled'}`, {
    ...e?.meta,
    jobId: job.id,
  });
}
