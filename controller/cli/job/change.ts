/** berth job watch, cancel, retry, accept. */
import { JobState } from '@berth/proto/v1/job.ts';
import type { Command } from '../core/command.ts';
import { print } from '../core/context.ts';
import { createLive } from '../output/live.ts';
import { followJob } from './follow.ts';
import { jobLines, jobView } from './view.ts';

const ONE = [{ name: 'job', description: 'the job', required: true, kind: 'job' as const }];

export const jobWatch: Command = {
  noun: 'job',
  verb: 'watch',
  summary: 'follow a job until it ends',
  args: ONE,
  flags: [],
  async run(ctx, [job = ''], _flags) {
    const api = await ctx.api();
    const live = createLive(ctx);
    try {
      await followJob(ctx, api, job, (phrase) => live.set('job', phrase));
    } finally {
      live.end();
      if (!ctx.signal.aborted)
        jobLines(jobView(await api.call(api.jobs, (c) => c.getJob, { job })), ctx.clock.now()).forEach((l) =>
          print(ctx, l),
        );
    }
  },
};

export const jobCancel: Command = {
  noun: 'job',
  verb: 'cancel',
  summary: 'ask a job to undo what it did and end',
  args: ONE,
  flags: [],
  async run(ctx, [job = '']) {
    const api = await ctx.api();
    const j = await api.call(api.jobs, (c) => c.cancelJob, { job });
    print(
      ctx,
      j.state === JobState.CANCELLED
        ? `job ${j.id} is cancelled`
        : `job ${j.id} unwinds. Follow it with: berth job watch ${j.id}`,
    );
  },
};

export const jobRetry: Command = {
  noun: 'job',
  verb: 'retry',
  summary: 'try the failed undo of a stuck job again',
  args: ONE,
  flags: [],
  async run(ctx, [job = '']) {
    const api = await ctx.api();
    const j = await api.call(api.jobs, (c) => c.retryJob, { job });
    print(ctx, `job ${j.id} tries again. Follow it with: berth job watch ${j.id}`);
  },
};

export const jobAccept: Command = {
  noun: 'job',
  verb: 'accept',
  summary: 'end a stuck job as it is',
  args: ONE,
  flags: [],
  async run(ctx, [job = '']) {
    const api = await ctx.api();
    const j = await api.call(api.jobs, (c) => c.acceptJob, { job });
    print(ctx, `job ${j.id} ended as it is: ${j.error}`);
  },
};
