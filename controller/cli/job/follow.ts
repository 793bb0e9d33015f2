/** Follows a job until it ends, with a phrase of progress at each change. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { isReason } from '@berth/shared/errors/reasons.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import { JobState, StepState, type Job, type JobStep } from '@berth/proto/v1/job.ts';
import type { Api } from '../core/api.ts';
import type { Context } from '../core/context.ts';

const ENDED: ReadonlySet<JobState> = new Set([JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.STUCK]);

/** Resolves with the job when it succeeded; throws its error otherwise. `show` gets a phrase at each change. */
export async function followJob(ctx: Context, api: Api, jobId: string, show: (phrase: string) => void): Promise<Job> {
  for await (const job of api.stream(api.jobs, (c) => c.watchJob, { job: jobId }, ctx.signal)) {
    if (!ENDED.has(job.state)) show(phrase(job));
    else if (job.state === JobState.SUCCEEDED) return job;
    else throw failure(job);
  }
  ctx.signal.throwIfAborted();
  throw new ClusterError(
    'CONTROLLER_UNREACHABLE',
    `the controller ended the watch of ${jobId}. See how it goes on with: berth job watch ${jobId}`,
  );
}

function failure(job: Job): Error {
  if (job.state === JobState.STUCK)
    return new ClusterError(
      'INTERNAL',
      `${job.kind} ${job.subject} is stuck: ${job.error}. See: berth job show ${job.id}`,
    );
  if (job.state === JobState.CANCELLED)
    return new ClusterError('CANCELLED', `${job.kind} ${job.subject} was cancelled`);
  return new ClusterError(isReason(job.errorReason) ? job.errorReason : 'INTERNAL', job.error, job.errorMeta);
}

function phrase(job: Job): string {
  const step = job.steps.find((s) => s.state === StepState.RUNNING || s.state === StepState.UNDOING);
  const why = job.waitReason === '' ? '' : ` (${job.waitReason})`;
  return step
    ? `${step.state === StepState.UNDOING ? 'undoing ' : ''}${[step.name, progress(step)].filter(Boolean).join(' ')}${why}`
    : `starting${why}`;
}

export const progress = (s: Pick<JobStep, 'progressDoneBytes' | 'progressTotalBytes'>): string =>
  s.progressTotalBytes > 0n
    ? `${formatFileBytes(Number(s.progressDoneBytes))} of ${formatFileBytes(Number(s.progressTotalBytes))}`
    : '';
