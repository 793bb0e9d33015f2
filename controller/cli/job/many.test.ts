import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { JobState, StepState, type Job } from '@berth/proto/v1/job.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from '../core/api.ts';
import type { Context } from '../core/context.ts';
import { jobLines, jobView, telling } from './view.ts';
import { runMany, type Many } from './many.ts';

const job = (id: string, state: JobState, o: Partial<Job> = {}): Job => ({
  id,
  kind: 'vm.start',
  subject: 'web',
  state,
  createdAtMs: 1_000n,
  endedAtMs: 0n,
  waitReason: '',
  error: '',
  errorReason: '',
  errorMeta: {},
  steps: [],
  locks: [],
  user: 'admin',
  ...o,
});

/** Runs a command whose jobs say what `watch` gives for their ids. */
async function run(o: Partial<Many>, watch: (id: string, stop: AbortController) => Job[] = () => []) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const stop = new AbortController();
  let code = 0;
  const api = {
    async *stream(_client: unknown, _method: unknown, { job: id }: { job: string }) {
      yield* watch(id, stop);
    },
  } as unknown as Api;
  const clock = { now: () => 0, monotonic: () => 0, after: () => ({ cancel() {} }), sleep: async () => {} };
  const ctx: Partial<Context> = { stdout, stderr, clock, signal: stop.signal, api: async () => api };
  const many: Many = {
    noun: 'vm',
    names: ['web', 'db'],
    wait: true,
    start: async (_api, name) => ({ jobId: `job-${name}` }),
    done: async () => 'started on h1',
    ...o,
  };
  const error = await runMany(
    { ...ctx, fail: (c: number) => (code = c), finishUnread: () => undefined } as unknown as Context,
    many,
  ).catch((e: Error) => e);
  return { out: String(stdout.read() ?? ''), err: String(stderr.read() ?? ''), code, error };
}

const succeeds = (id: string) => [job(id, JobState.RUNNING), job(id, JobState.SUCCEEDED)];

describe('commands with many names', () => {
  it('have a line for each, with the results in one column', async () => {
    const failed = { error: 'no host:\n  h1 memory\n  h2 cpu', errorReason: 'NO_CAPACITY' };
    const r = await run({ advice: 'Do it again.' }, (id) =>
      id === 'job-db' ? [job(id, JobState.FAILED, failed)] : succeeds(id),
    );
    expect(r.out.trimEnd().split('\n').sort()).toEqual([
      'vm db                             [FAILED] no host:; h1 memory; h2 cpu',
      'vm web started on h1              [  OK  ]',
    ]);
    expect(r.err).toBe('1 of 2 done in 0 ms. Do it again.\n');
    expect(r).toMatchObject({ code: 1, error: undefined });
  });

  it('throw the error itself for one name', async () => {
    const r = await run({ names: ['web'] }, (id) => [
      job(id, JobState.FAILED, { error: 'web is broken', errorReason: 'BAD_STATE' }),
    ]);
    expect(r.error).toMatchObject({ reason: 'BAD_STATE', message: 'web is broken' });
    expect(r.out + r.err).toBe('');
  });

  it('do not wait for a job when there is nothing to do', async () => {
    const start = async () => ({ jobId: '' });
    const r = await run({ names: ['web'], start, done: async (_a, _n, j) => (j ? 'started' : 'runs already') });
    expect(r.out).toMatch(/^vm web runs already +\[ {2}OK {2}\]\n$/);
  });

  it('print only the jobs when nobody waits', async () => {
    expect(await run({ wait: false })).toMatchObject({ out: 'job-web\njob-db\n', err: '', code: 0 });
  });

  it('say on Ctrl-C what goes on', async () => {
    const r = await run({}, (id, stop) => (stop.abort(new Error('interrupted')), [job(id, JobState.RUNNING)]));
    expect(r).toMatchObject({ out: '', error: undefined });
    expect(r.err).toBe('2 jobs go on: berth job list --open. To undo what one did: berth job cancel JOB\n');
  });

  it('say that a watch broke off, and how to go on', async () => {
    const r = await run({ names: ['web'] });
    expect(r.error).toBeInstanceOf(ClusterError);
    expect(r.error).toMatchObject({
      reason: 'CONTROLLER_UNREACHABLE',
      message: expect.stringMatching(/berth job watch/),
    });
  });
});

describe('a job in full', () => {
  const step = (name: string, state: StepState, o = {}) => ({
    ...{ name, state, detail: '', startedAtMs: 0n, endedAtMs: 0n, progressDoneBytes: 0n, progressTotalBytes: 0n },
    ...o,
  });

  it('has a line for each step and says how to cancel it', () => {
    const running = job('job-1', JobState.RUNNING, {
      steps: [
        step('place', StepState.SUCCEEDED, { detail: 'h3', startedAtMs: 1_000n, endedAtMs: 1_001n }),
        step('fetch', StepState.RUNNING, { progressDoneBytes: 1_000_000n, progressTotalBytes: 14_000_000n }),
        step('define', StepState.PENDING),
      ],
    });
    expect(jobLines(jobView(running), 4_200)).toEqual([
      'vm.start web               running 3.2 s',
      '  ✔ place   h3               1 ms',
      '  ● fetch   1 MB of 14 MB',
      '  ○ define',
      'cancel: berth job cancel job-1',
    ]);
  });

  it('is named by as much of its id as tells it from the others', () => {
    expect(telling(['job-01m7y0ysx7aa', 'job-01m7y0ysx7ab'])).toBe(16);
    expect(telling(['job-01m7y0ysx7aa'])).toBe(14);
    expect(telling([])).toBe(14);
  });
});
