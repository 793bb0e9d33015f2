/** Follows a job until it ends, with a line of progress; and the manners of commands that take many names. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { isReason } from '@berth/shared/errors/reasons.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import { JobState, StepState, type Job, type JobStep } from '@berth/proto/v1/job.ts';
import type { Api } from '../core/api.ts';
import { note, print, type Context } from '../core/context.ts';
import { errorText } from '../core/exit.ts';
import { createLive, type Live } from '../output/live.ts';

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
    ? `${step.state === StepState.UNDOING ? 'undoing ' : ''}${step.name}${progress(step)}${why}`
    : `starting${why}`;
}

export const progress = (s: JobStep): string =>
  s.progressTotalBytes > 0n
    ? ` ${formatFileBytes(Number(s.progressDoneBytes))} of ${formatFileBytes(Number(s.progressTotalBytes))}`
    : '';

export interface Started {
  readonly jobId: string;
}

export interface ManyOptions {
  /** "vm" */
  readonly noun: string;
  readonly names: readonly string[];
  readonly wait: boolean;
  /** Starts the work for one name; an empty job id means that there was nothing to do. */
  readonly start: (api: Api, name: string) => Promise<Started>;
  /** "created on h2": said after the name when it is done. */
  readonly done: (api: Api, name: string, job: Job | undefined) => Promise<string>;
  /** Said after a failure of some: how to finish. */
  readonly advice?: string;
}

/**
 * One name: plain errors. Many: in parallel, one result line each with [  OK  ] or [FAILED], and a failing exit code if
 * any failed. With --no-wait, only the jobs' ids are printed.
 */
export async function runMany(ctx: Context, o: ManyOptions): Promise<void> {
  const api = await ctx.api();
  const startedAt = ctx.clock.monotonic();
  const live = createLive(ctx);
  const width = Math.max(...o.names.map((n) => n.length)) + o.noun.length + 1;
  const results = await Promise.all(o.names.map((name) => one(ctx, api, o, { name, live, width })));
  live.end();
  const failed = results.filter((e) => e !== undefined);
  if (failed.length === 0) return;
  if (o.names.length > 1) {
    const seconds = ((ctx.clock.monotonic() - startedAt) / 1000).toFixed(1);
    note(
      ctx,
      `${o.names.length - failed.length} of ${o.names.length} done in ${seconds} s.${o.advice ? ` ${o.advice}` : ''}`,
    );
    ctx.fail(1);
  } else throw failed[0];
}

async function one(
  ctx: Context,
  api: Api,
  o: ManyOptions,
  at: { name: string; live: Live; width: number },
): Promise<unknown> {
  const { name, live, width } = at;
  const label = `${o.noun} ${name}`.padEnd(width);
  try {
    live.set(name, `${label} …`);
    const { jobId } = await o.start(api, name);
    if (!o.wait) {
      live.set(name, undefined);
      if (jobId !== '') print(ctx, jobId);
      return undefined;
    }
    const job = jobId === '' ? undefined : await followJob(ctx, api, jobId, (p) => live.set(name, `${label} ${p}`));
    const said = `${label} ${await o.done(api, name, job)}`;
    live.set(name, undefined);
    live.final(`${said.padEnd(width + 18)} [  OK  ]`);
    return undefined;
  } catch (e) {
    live.set(name, undefined);
    if (ctx.signal.aborted) throw e;
    if (o.names.length > 1) live.final(`${label.padEnd(width + 18)} [FAILED] ${errorText(e)}`);
    return e;
  }
}
