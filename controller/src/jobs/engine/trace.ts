/**
 * Which trace a job belongs to: that of the call, or of the step of another job, that started it. In memory, so that what a job does
 * after a restart of the controller is in no trace. Nothing of it exists while tracing is off.
 */
import type { JobId } from '@berth/shared/model/ids.ts';
import type { Job } from '@berth/shared/model/job.ts';
import type { SpanContext } from '@berth/shared/trace/context.ts';
import { childOf, currentSpan, inSpan, isTracing, record, traced } from '@berth/shared/trace/trace.ts';
import type { At } from './at.ts';

interface Begun {
  readonly own: SpanContext;
  readonly parentId: string;
}

const MOST_JOBS = 10_000;
const begun = new Map<JobId, Begun>();

/** In the transaction that starts it; one that is taken back leaves an entry, which goes with the oldest. */
export function noteStarted(jobId: JobId): void {
  const parent = currentSpan();
  const own = childOf(parent);
  if (own === undefined || parent === undefined) return;
  begun.set(jobId, { own, parentId: parent.spanId });
  const oldest = begun.keys().next();
  if (begun.size > MOST_JOBS && !oldest.done) begun.delete(oldest.value);
}

/** What wakes a job has not begun it: it is driven as part of its own trace, or of none. */
export const asJob = <T>(jobId: JobId, work: () => T): T =>
  isTracing() ? inSpan(begun.get(jobId)?.own, work) : work();

export function tracedStep<T>({ step, job }: At, work: () => Promise<T>, undo = false): Promise<T> {
  if (!isTracing()) return work();
  const attributes = { 'berth.job': job.id, 'berth.step': step.name };
  return traced({ name: `${undo ? 'undo' : 'step'} ${job.kind} ${step.name}`, attributes }, work);
}

export function noteEnded({ id, kind, subject, state, createdAtMs, endedAtMs, error }: Job): void {
  const its = begun.get(id);
  if (its === undefined) return;
  begun.delete(id);
  record({
    ...its.own,
    parentId: its.parentId,
    name: `job ${kind}`,
    kind: 'internal',
    attributes: { 'berth.job': id, 'berth.subject': subject, 'berth.state': state },
    startMs: createdAtMs,
    endMs: endedAtMs ?? createdAtMs,
    error: error?.message,
  });
}
