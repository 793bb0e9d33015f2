/** The manners of commands that take many names: all at once, a line of progress and a line of result for each. */
import type { Job } from '@berth/proto/v1/job.ts';
import { formatDuration } from '@berth/shared/units/duration.ts';
import type { Api } from '../core/api.ts';
import { note, print, type Context } from '../core/context.ts';
import { errorLine, EXIT } from '../core/exit.ts';
import { createLive, type Live } from '../output/live.ts';
import { followJob } from './follow.ts';

export interface Many {
  /** "vm" */
  readonly noun: string;
  readonly names: readonly string[];
  readonly wait: boolean;
  /** Starts the work for one name; an empty job id means that there was nothing to do. */
  readonly start: (api: Api, name: string) => Promise<{ readonly jobId: string }>;
  /** "created on h2": said after the name when it is done. `follow` waits for one more job in the same line. */
  readonly done: (api: Api, name: string, job: Job | undefined, follow: Follow) => Promise<string>;
  /** Said when some failed and some did not: how to finish. */
  readonly advice?: string;
}

type Follow = (jobId: string) => Promise<Job | undefined>;

/** Results stand in one column behind texts of up to this length. */
const RESULT_WIDTH = 26;

/**
 * One name: plain errors. Many: one result line each with [  OK  ] or [FAILED], and a failing exit code if any failed. With
 * --no-wait, only the jobs' ids are printed. Jobs go on when the person leaves with Ctrl-C.
 */
export async function runMany(ctx: Context, o: Many): Promise<void> {
  ctx.finishUnread();
  const api = await ctx.api();
  const startedMs = ctx.clock.monotonic();
  const live = createLive(ctx);
  const open = new Set<string>();
  const width = Math.max(...o.names.map((n) => n.length)) + o.noun.length + 1;
  const results = await Promise.all(
    o.names.map((name) => one(ctx, api, o, { name, live, open, label: `${o.noun} ${name}`.padEnd(width) })),
  );
  live.end();
  if (ctx.signal.aborted) sayWhatGoesOn(ctx, [...open]);
  else sum(ctx, o, results, ctx.clock.monotonic() - startedMs);
}

function sum(ctx: Context, o: Many, results: readonly unknown[], tookMs: number): void {
  const failed = results.filter((e) => e !== undefined);
  if (o.names.length === 1 && failed.length === 1) throw failed[0];
  if (o.names.length === 1 || !o.wait) return;
  const done = o.names.length - failed.length;
  const advice = failed.length > 0 && done > 0 && o.advice ? ` ${o.advice}` : '';
  note(ctx, `${done} of ${o.names.length} done in ${formatDuration(tookMs)}.${advice}`);
  if (failed.length > 0) ctx.fail(EXIT.failed);
}

function sayWhatGoesOn(ctx: Context, jobs: readonly string[]): void {
  const [only] = jobs;
  if (jobs.length === 1)
    note(ctx, `The job goes on: berth job watch ${only}. To undo what it did: berth job cancel ${only}`);
  if (jobs.length > 1)
    note(ctx, `${jobs.length} jobs go on: berth job list --open. To undo what one did: berth job cancel JOB`);
}

interface One {
  readonly name: string;
  readonly label: string;
  readonly live: Live;
  /** Jobs that are waited for now. */
  readonly open: Set<string>;
}

/** Answers the error, if any; it has been said when there are others to say it beside. */
async function one(ctx: Context, api: Api, o: Many, at: One): Promise<unknown> {
  const { name, label, live } = at;
  const follow: Follow = async (jobId) => {
    if (jobId === '') return undefined;
    at.open.add(jobId);
    const job = await followJob(ctx, api, jobId, (phrase) => live.set(name, `${label} ${phrase}`));
    at.open.delete(jobId);
    return job;
  };
  const result = (words: string, end: string) => live.final(`${label} ${words.padEnd(RESULT_WIDTH)} ${end}`);
  try {
    live.set(name, `${label} …`);
    const { jobId } = await o.start(api, name);
    if (!o.wait) {
      live.set(name, undefined);
      if (jobId !== '') print(ctx, jobId);
      return undefined;
    }
    const words = await o.done(api, name, await follow(jobId), follow);
    live.set(name, undefined);
    result(words, '[  OK  ]');
    return undefined;
  } catch (e) {
    live.set(name, undefined);
    if (o.names.length > 1 && !ctx.signal.aborted) result('', `[FAILED] ${errorLine(e)}`);
    return e;
  }
}
