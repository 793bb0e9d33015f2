/** Jobs and their log, as stored. The engine is controller/src/jobs/engine. Plain data. */
import type { JobId } from './ids.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [k: string]: Json };

/** The order of these per step is fixed by a table in the engine; any other order is refused. */
export type JobEventType = 'started' | 'succeeded' | 'failed' | 'undo_started' | 'undo_finished' | 'undo_failed';

export interface JobEvent {
  readonly step: string;
  readonly type: JobEventType;
  readonly atMs: number;
  /** Output of the step, or the error as {reason, message, meta}. */
  readonly data?: Json;
}

export interface JobError {
  readonly reason: string;
  readonly message: string;
  readonly meta: Readonly<Record<string, string>>;
}

export type JobState = 'running' | 'waiting' | 'unwinding' | 'stuck' | 'succeeded' | 'failed' | 'cancelled';

export const isEnded = (s: JobState): boolean => s === 'succeeded' || s === 'failed' || s === 'cancelled';

/** Where in a trace a job is, when somebody wants it recorded. Hexadecimal. */
export interface JobTrace {
  readonly traceId: string;
  /** Of the job itself. */
  readonly spanId: string;
  /** Of what started it. */
  readonly parentId: string;
}

export interface Job {
  readonly id: JobId;
  readonly kind: string;
  readonly version: number;
  readonly params: Json;
  readonly state: JobState;
  /** What it works on, for people: the name of a VM, image or host. */
  readonly subject: string;
  /** Objects it holds, `vm/<id>` or `image/<id>`, with `:shared` or `:exclusive` at the end. Gone when it ends. */
  readonly locks: readonly string[];
  /** Of a keyed job, e.g. `image.fetch/<image>/<host>`: a second start joins it. */
  readonly key: string | undefined;
  /** Jobs that wait for this one (keyed jobs). It is cancelled when the last one leaves. */
  readonly waiters: readonly JobId[];
  readonly user: string;
  /** Of the VM (or of what was captured of it) that it works on, when it began: who may see it when that is gone. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly createdAtMs: number;
  readonly endedAtMs: number | undefined;
  readonly deadlineAtMs: number | undefined;
  readonly wakeAtMs: number | undefined;
  readonly waitReason: string | undefined;
  readonly cancelRequested: boolean;
  readonly error: JobError | undefined;
  /** Absent while tracing is off. */
  readonly trace?: JobTrace;
}

export type StepState = 'pending' | 'running' | 'succeeded' | 'failed' | 'undoing' | 'undone' | 'undo_failed';

export interface StepView {
  readonly name: string;
  readonly state: StepState;
  /** One short phrase: what it did, e.g. `h3` or `fetched from h1`; of a failed step its error. */
  readonly detail: string;
  readonly startedAtMs: number | undefined;
  readonly endedAtMs: number | undefined;
  readonly progressDoneBytes: number;
  readonly progressTotalBytes: number;
  /** Of a part: the step that it belongs to, and the job that does it. */
  readonly partOf?: string;
  readonly jobId?: JobId | undefined;
}

/** A job as people see it: the row, its steps and live progress. */
export interface JobView extends Job {
  readonly steps: readonly StepView[];
}
