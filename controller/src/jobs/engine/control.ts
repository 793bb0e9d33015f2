/** What people may do to a job that runs or is stuck: cancel, retry, accept. Each is one update; the runner sees it. */
import { badState, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import { isEnded, type Job, type JobEvent } from '@berth/shared/model/job.ts';
import type { State, Tx } from '../../state/state.ts';
import type { AnyJobDef } from './define.ts';
import { nextMove, patchJob, readLog } from './log.ts';
import { endJob, jobEvent } from './record.ts';

function openJob(tx: Tx, jobId: JobId): Job {
  const job = tx.jobs.get(jobId);
  if (!job) throw notFound(`no job ${jobId}, or it ended long ago`);
  if (isEnded(job.state))
    throw badState(`job ${jobId} has ${job.state === 'cancelled' ? 'been cancelled' : job.state}`);
  return job;
}

export function cancelJob(tx: Tx, jobId: JobId, def: AnyJobDef | undefined, log: readonly JobEvent[]): void {
  const job = openJob(tx, jobId);
  if (job.state === 'stuck') throw badState(`job ${jobId} is stuck; retry it, or accept it as it is`);
  const next = def && nextMove(def, readLog(log));
  if (next?.type === 'run' && next.step.forwardOnly)
    throw badState(`job ${jobId} is past its point of no return (${next.step.name}); it can only go forward`);
  patchJob(tx, jobId, { cancelRequested: true });
}

export function retryJob(tx: Tx, jobId: JobId, log: readonly JobEvent[]): void {
  const job = openJob(tx, jobId);
  if (job.state !== 'stuck') throw badState(`job ${jobId} is ${job.state}, not stuck; it needs no retry`);
  patchJob(tx, jobId, { state: readLog(log).failed ? 'unwinding' : 'running', waitReason: undefined });
}

export function acceptJob(tx: Tx, jobId: JobId, log: readonly JobEvent[]): void {
  const job = openJob(tx, jobId);
  if (job.state !== 'stuck') throw badState(`job ${jobId} is ${job.state}, not stuck; there is nothing to accept`);
  const left = [...readLog(log).steps].filter(([, r]) => r.last !== 'undo_finished').map(([name]) => name);
  const what = left.length > 0 ? `; not undone: ${left.join(', ')}` : '';
  jobEvent(tx, job, 'job.accepted', 'warning', `${job.kind} ${job.subject} was accepted as it is${what}`);
  endJob(tx, job, 'failed');
}

/** A job that this version cannot drive: kept, shown, never a crash. */
export async function makeStuck(state: State, jobId: JobId, message: string): Promise<void> {
  await state.update((tx) => {
    const job = tx.jobs.get(jobId);
    if (!job || isEnded(job.state) || job.state === 'stuck') return;
    const error = job.error ?? { reason: 'UNSUPPORTED', message, meta: {} };
    patchJob(tx, jobId, { state: 'stuck', error, waitReason: message, wakeAtMs: undefined });
    jobEvent(tx, job, 'job.stuck', 'alarm', `${job.kind} ${job.subject} is stuck: ${message}`);
  });
}
