/** JobService: long work, seen and steered. */
import { JobState, StepState, type Job, type JobServiceService, type JobStep } from '@berth/proto/v1/job.ts';
import type { JobState as State, JobView, StepView } from '@berth/shared/model/job.ts';
import type { JobsApp } from '../app/jobs.ts';
import { toWire } from './numbers.ts';
import { toQuery } from './page.ts';
import type { Handlers } from './call.ts';
import type { Scope } from './scope.ts';

export const jobHandlers = (jobs: JobsApp, scope: Scope): Handlers<JobServiceService> => ({
  getJob: async (r) => toJob(await jobs.get(r.job)),
  listJobs: async (r, call) => {
    const { items, nextPageToken } = await jobs.list({ ...toQuery(r.page), openOnly: r.openOnly }, (j) =>
      scope.seesJob(call, j),
    );
    return { jobs: items.map(toJob), nextPageToken };
  },
  watchJob: async function* (r, call) {
    for await (const view of jobs.watch(r.job, call.signal)) yield toJob(view);
  },
  cancelJob: async (r) => toJob(await jobs.cancel(r.job)),
  retryJob: async (r) => toJob(await jobs.retry(r.job)),
  acceptJob: async (r) => toJob(await jobs.accept(r.job)),
});

const STATE: Readonly<Record<State, JobState>> = {
  running: JobState.RUNNING,
  waiting: JobState.WAITING,
  unwinding: JobState.UNWINDING,
  stuck: JobState.STUCK,
  succeeded: JobState.SUCCEEDED,
  failed: JobState.FAILED,
  cancelled: JobState.CANCELLED,
};

const STEP: Readonly<Record<StepView['state'], StepState>> = {
  pending: StepState.PENDING,
  running: StepState.RUNNING,
  succeeded: StepState.SUCCEEDED,
  failed: StepState.FAILED,
  undoing: StepState.UNDOING,
  undone: StepState.UNDONE,
  undo_failed: StepState.UNDO_FAILED,
};

const toStep = (s: StepView): JobStep => ({
  name: s.name,
  state: STEP[s.state],
  detail: s.detail,
  startedAtMs: toWire(s.startedAtMs),
  endedAtMs: toWire(s.endedAtMs),
  progressDoneBytes: toWire(s.progressDoneBytes),
  progressTotalBytes: toWire(s.progressTotalBytes),
  ...(s.partOf !== undefined && { partOf: s.partOf }),
  ...(s.jobId !== undefined && { job: s.jobId }),
});

const toJob = (j: JobView): Job => ({
  id: j.id,
  kind: j.kind,
  state: STATE[j.state],
  subject: j.subject,
  createdAtMs: toWire(j.createdAtMs),
  endedAtMs: toWire(j.endedAtMs),
  waitReason: j.waitReason ?? '',
  error: j.error?.message ?? '',
  errorReason: j.error?.reason ?? '',
  errorMeta: { ...j.error?.meta },
  steps: j.steps.map(toStep),
  locks: [...j.locks],
  user: j.user,
});
