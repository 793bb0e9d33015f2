/** A job as people see it: its row, its steps with states, times and one short phrase each. Pure. */
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
import { readLog, type JobRecord, type StepRecord } from './log.ts';

const STATES = {
  started: 'running',
  succeeded: 'succeeded',
  failed: 'failed',
  undo_started: 'undoing',
  undo_finished: 'undone',
  undo_failed: 'undo_failed',
} as const satisfies Record<JobEvent['type'], StepState>;

/** @param def undefined when this version does not know the kind: then the log alone tells. */
export function viewOf(
  job: Job,
  log: readonly JobEvent[],
  def: AnyJobDef | undefined,
  deps: unknown,
  progress: (step: string) => Progress | undefined,
): JobView {
  const record = readLog(log);
  const names = def ? def.steps.map((s) => s.name) : [...record.steps.keys()];
  const steps = names.map((name): StepView => {
    const r = record.steps.get(name);
    const p = isEnded(job.state) ? undefined : progress(name);
    return {
      name,
      state: r ? STATES[r.last] : 'pending',
      detail: r
        ? detail(
            job,
            record,
            r,
            deps,
            def?.steps.find((s) => s.name === name),
          )
        : '',
      startedAtMs: r?.startedAtMs,
      endedAtMs: r?.endedAtMs,
      progressDoneBytes: p?.doneBytes ?? 0,
      progressTotalBytes: p?.totalBytes ?? 0,
    };
  });
  return { ...job, steps };
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
