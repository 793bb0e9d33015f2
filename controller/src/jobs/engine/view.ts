/** A job as people see it: its row, its steps with states, times and one short phrase each. Pure. */
import type { JobId } from '@berth/shared/model/ids.ts';
import {
  isEnded,
  type Job,
  type JobEvent,
  type JobView,
  type StepState,
  type StepView,
} from '@berth/shared/model/job.ts';
import type { AnyJobDef, AnyStep } from './define.ts';
import type { Progress } from './live.ts';
import { jobOfPart, readLog, type JobRecord, type StepRecord } from './log.ts';

const STATES = {
  started: 'running',
  succeeded: 'succeeded',
  failed: 'failed',
  undo_started: 'undoing',
  undo_finished: 'undone',
  undo_failed: 'undo_failed',
} as const satisfies Record<JobEvent['type'], StepState>;

/** What is known of others while they run. */
export interface LiveView {
  progress(step: string): Progress | undefined;
  /** What the job of a part does just now: `volume`, or why it waits. */
  doing(jobId: JobId): { readonly words: string; readonly progress: Progress | undefined };
}

/** @param def undefined when this version does not know the kind: then the log alone tells. */
export function viewOf(
  job: Job,
  log: readonly JobEvent[],
  def: AnyJobDef | undefined,
  deps: unknown,
  live: LiveView,
): JobView {
  const record = readLog(log);
  const names = def ? def.steps.map((s) => s.name) : [...record.steps.keys()];
  const parts = [...record.parts].map(([name, r]) => partView(name, r, job, live));
  const steps = names.flatMap((name): StepView[] => {
    const r = record.steps.get(name);
    const step = def?.steps.find((s) => s.name === name);
    const p = isEnded(job.state) ? undefined : live.progress(name);
    const words = r ? detail(job, record, r, deps, step) : '';
    return [stepView(name, r, words, p), ...parts.filter((x) => x.partOf === name)];
  });
  return { ...job, steps };
}

function stepView(name: string, r: StepRecord | undefined, detail: string, p: Progress | undefined): StepView {
  return {
    ...{ name, detail, state: r ? STATES[r.last] : 'pending' },
    ...{ startedAtMs: r?.startedAtMs, endedAtMs: r?.endedAtMs },
    ...{ progressDoneBytes: p?.doneBytes ?? 0, progressTotalBytes: p?.totalBytes ?? 0 },
  };
}

function partView(name: string, r: StepRecord, job: Job, live: LiveView): StepView & { readonly partOf: string } {
  const cut = name.indexOf('/');
  const jobId = jobOfPart(r);
  const now = r.last === 'started' && jobId && !isEnded(job.state) ? live.doing(jobId) : undefined;
  const did = r.last === 'succeeded' ? (r.out as { readonly what?: string } | undefined)?.what : undefined;
  const words = now?.words ?? r.error?.message ?? did ?? '';
  return { ...stepView(name.slice(cut + 1), r, words, now?.progress), partOf: name.slice(0, cut), jobId };
}

function detail(job: Job, record: JobRecord, r: StepRecord, deps: unknown, step: AnyStep | undefined): string {
  if (r.undoError && r.last === 'undo_failed') return r.undoError.message;
  if (r.error) return r.error.message;
  if (r.last === 'started') return job.waitReason ?? '';
  if (r.last !== 'succeeded' || !step?.describe) return '';
  try {
    const described = { params: job.params, outs: record.outs, deps };
    return (step.describe as (out: unknown, c: unknown) => string)(r.out, described);
  } catch {
    return ''; // an object that it names is gone
  }
}
