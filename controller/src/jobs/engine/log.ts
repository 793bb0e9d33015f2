/** The log of a job: which event may follow which, and what a log means. Pure but for `append`, which checks and writes. */
import {
  isEnded,
  type Job,
  type JobError,
  type JobEvent,
  type JobEventType,
  type Json,
} from '@berth/shared/model/job.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import type { Tx } from '../../state/state.ts';
import type { AnyJobDef, AnyStep } from './define.ts';

const NEXT: Readonly<Record<JobEventType | 'none', readonly JobEventType[]>> = {
  none: ['started'],
  /** A local step that waits says so again when its memo changes. */
  started: ['started', 'succeeded', 'failed'],
  succeeded: ['undo_started'],
  failed: ['undo_started'],
  undo_started: ['undo_finished', 'undo_failed'],
  undo_finished: [],
  undo_failed: ['undo_started'],
};

/** In the data of `started`: why the rest of the log may need it. */
export interface StartedData {
  /** A local step that has waited: part of its work is committed. */
  readonly waited?: boolean;
  readonly memo?: Json;
  /** It failed before it was ever run. */
  readonly skipped?: boolean;
}

export interface StepRecord {
  readonly last: JobEventType;
  readonly startedAtMs: number;
  readonly undoStartedAtMs: number | undefined;
  readonly endedAtMs: number | undefined;
  readonly started: StartedData;
  readonly out: Json | undefined;
  readonly error: JobError | undefined;
  readonly undoError: JobError | undefined;
}

export interface JobRecord {
  readonly steps: ReadonlyMap<string, StepRecord>;
  /** Of steps that come in parts: by `step/part`, in the order in which they began. */
  readonly parts: ReadonlyMap<string, StepRecord>;
  readonly outs: Readonly<Record<string, unknown>>;
  readonly failed: boolean;
}

/** `rows/web-01`: no step has such a name. What becomes of a part fails no job by itself: its step decides. */
const isPart = (step: string): boolean => step.includes('/');

/** Throws when an event follows one that it may not follow. */
export function readLog(events: readonly JobEvent[]): JobRecord {
  const steps = new Map<string, StepRecord>();
  const parts = new Map<string, StepRecord>();
  const outs: Record<string, unknown> = {};
  for (const e of events) {
    const all = isPart(e.step) ? parts : steps;
    const before = all.get(e.step);
    refuseDisorder(before?.last ?? 'none', e);
    all.set(e.step, extend(before, e));
    if (e.type === 'succeeded' && all === steps) outs[e.step] = e.data;
  }
  return { steps, parts, outs, failed: [...steps.values()].some((s) => s.error !== undefined) };
}

function refuseDisorder(last: JobEventType | 'none', e: Pick<JobEvent, 'step' | 'type'>): void {
  if (!NEXT[last].includes(e.type)) throw new Error(`BUG: ${e.type} after ${last} in step ${e.step}`);
}

const NEW = {
  startedAtMs: 0,
  undoStartedAtMs: undefined,
  started: {},
  out: undefined,
  error: undefined,
  undoError: undefined,
} as const satisfies Partial<StepRecord>;

function extend(r: StepRecord | undefined, e: JobEvent): StepRecord {
  const ends = e.type !== 'started' && e.type !== 'undo_started';
  const base = { ...(r ?? { ...NEW, startedAtMs: e.atMs }), last: e.type, endedAtMs: ends ? e.atMs : undefined };
  switch (e.type) {
    case 'started':
      return { ...base, started: (e.data ?? base.started) as StartedData };
    case 'succeeded':
      return { ...base, out: e.data };
    case 'failed':
      return { ...base, error: e.data as unknown as JobError };
    case 'undo_started':
      return { ...base, undoStartedAtMs: e.atMs };
    case 'undo_failed':
      return { ...base, undoError: e.data as unknown as JobError };
    case 'undo_finished':
      return base;
  }
}

/** The job that does a part. */
export const jobOfPart = (r: StepRecord): JobId | undefined => (r.started as { readonly jobId?: JobId }).jobId;

export type Move =
  | { readonly type: 'run' | 'undo'; readonly step: AnyStep; readonly record: StepRecord | undefined }
  | { readonly type: 'end' };

/** What is to be done next: forwards, or back from the latest step. The failed step is undone too. */
export function nextMove(def: AnyJobDef, record: JobRecord): Move {
  const find = (s: AnyStep): StepRecord | undefined => record.steps.get(s.name);
  const step = record.failed
    ? def.steps.findLast((s) => find(s) !== undefined && find(s)!.last !== 'undo_finished')
    : def.steps.find((s) => find(s)?.last !== 'succeeded');
  if (!step) return { type: 'end' };
  return { type: record.failed ? 'undo' : 'run', step, record: find(step) };
}

/** Writes to an open job's log inside an update; refuses what may not follow. `before` is the log so far. */
export function append(
  tx: Tx,
  jobId: JobId,
  before: readonly JobEvent[],
  event: { readonly step: string; readonly type: JobEventType; readonly data?: unknown },
): void {
  refuseDisorder(before.findLast((e) => e.step === event.step)?.type ?? 'none', event);
  const data = toJson(event.data);
  tx.appendJobEvent(jobId, { step: event.step, type: event.type, ...(data === undefined ? {} : { data }) });
}

/** What is stored is what a restart would find: outputs are given on only after this. */
export const toJson = (v: unknown): Json | undefined =>
  v === undefined ? undefined : (JSON.parse(JSON.stringify(v)) as Json);

/** Changes a job's row; nothing when it says the same already. */
export function patchJob(tx: Tx, jobId: JobId, patch: Partial<Job>): void {
  const job = tx.jobs.get(jobId);
  if (!job || isEnded(job.state)) throw new Error(`BUG: job ${jobId} is not open`);
  const same = Object.entries(patch).every(([k, v]) => job[k as keyof Job] === v);
  if (!same) tx.jobs.put({ ...job, ...patch });
}
