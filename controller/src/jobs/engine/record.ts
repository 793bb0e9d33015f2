/** Writes what became of a step, and ends the job in the same update when nothing is left to do. */
import { isEnded, type Job, type JobEventType } from '@berth/shared/model/job.ts';
import type { Tx } from '../../state/state.ts';
import type { At, DriveEnv, Outcome } from './at.ts';
import type { AnyJobDef } from './define.ts';
import { append, nextMove, patchJob, readLog } from './log.ts';
import { leaveJob } from './start.ts';

export interface NewJobEvent {
  readonly type: JobEventType;
  readonly data?: unknown;
}

/** Inside an update. */
export function record(at: At, tx: Tx, events: readonly NewJobEvent[], patch: Partial<Job> = {}): void {
  const { id } = at.job;
  for (const e of events) append(tx, id, at.env.state.jobLog(id), { step: at.step.name, ...e });
  patchJob(tx, id, patch);
  endWhenDone(at.env, tx, at.def, at.job);
}

export function endWhenDone(env: DriveEnv, tx: Tx, def: AnyJobDef, job: Pick<Job, 'id'>): void {
  const log = readLog(env.state.jobLog(job.id));
  if (nextMove(def, log).type !== 'end') return;
  const error = tx.jobs.get(job.id)?.error;
  endJob(tx, job, !log.failed ? 'succeeded' : error?.reason === 'CANCELLED' ? 'cancelled' : 'failed');
}

/** Its locks go, and those it waited for lose a waiter. Its own waiters stay in the row: they look for how it ended. */
export function endJob(tx: Tx, { id }: Pick<Job, 'id'>, state: 'succeeded' | 'failed' | 'cancelled'): void {
  patchJob(tx, id, { state, endedAtMs: tx.nowMs, locks: [], wakeAtMs: undefined, waitReason: undefined });
  for (const awaited of tx.jobs.awaitedBy(id)) leaveJob(tx, awaited.id, id);
  const job = tx.jobs.get(id)!;
  if (state === 'succeeded') return;
  const why = job.error ? `: ${job.error.message}` : '';
  jobEvent(
    tx,
    job,
    `job.${state}`,
    state === 'failed' ? 'warning' : 'info',
    `${job.kind} ${job.subject} ${state}${why}`,
  );
}

export function jobEvent(
  tx: Tx,
  job: Job,
  type: string,
  severity: 'info' | 'warning' | 'alarm',
  message: string,
): void {
  tx.event({ type, severity, subjectKind: 'job', subject: job.id, message, jobId: job.id });
}

/** The step comes again after `ms`; the row says why, and is written only when that is new. */
export async function waiting(at: At, ms: number, why: string): Promise<Outcome> {
  await at.env.state.update((tx) => sayWaiting(at, tx, ms, why));
  at.env.onLive(at.job);
  return { type: 'waiting', ms: Math.max(0, ms) };
}

/** Inside an update. */
export function sayWaiting(at: At, tx: Tx, ms: number, why: string): void {
  const job = tx.jobs.get(at.job.id)!;
  if (isEnded(job.state) || job.waitReason === why) return;
  const state = at.jobRecord.failed ? 'unwinding' : 'waiting';
  patchJob(tx, job.id, { state, waitReason: why, wakeAtMs: tx.nowMs + ms });
}

/** Raised once for each cause in a life of the controller. */
export async function alarm(at: At, type: string, message: string): Promise<void> {
  const key = `${type} ${at.step.name}`;
  if (at.live.alarmed.has(key)) return;
  at.live.alarmed.add(key);
  await at.env.state.update((tx) => jobEvent(tx, at.job, type, 'alarm', message));
}

export const NOT_WAITING = { waitReason: undefined, wakeAtMs: undefined } as const satisfies Partial<Job>;
