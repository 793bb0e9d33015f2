/**
 * Which trace a job belongs to: that of the call, or of the step of another job, that started it. It is kept with the job, so that
 * what a job does after a restart of the controller is in it, too. Nothing of it exists while tracing is off.
 */
import type { Job, JobTrace } from '@berth/shared/model/job.ts';
import { childOf, currentSpan, inSpan, isTracing, record, traced } from '@berth/shared/trace/trace.ts';
import type { At } from './at.ts';

/** For the row of a job that starts now; nothing where nobody wants to know. */
export function traceOfStart(): Pick<Job, 'trace'> {
  const parent = currentSpan();
  const own = childOf(parent);
  if (own === undefined || parent === undefined || !own.sampled) return {};
  return { trace: { traceId: own.traceId, spanId: own.spanId, parentId: parent.spanId } };
}

const contextOf = ({ traceId, spanId }: JobTrace) => ({ traceId, spanId, sampled: true });

/** What wakes a job has not begun it: it is driven as part of its own trace, or of none. */
export const asJob = <T>({ trace }: Pick<Job, 'trace'>, work: () => T): T =>
  isTracing() ? inSpan(trace && contextOf(trace), work) : work();

export function tracedStep<T>({ step, job }: At, work: () => Promise<T>, undo = false): Promise<T> {
  if (!isTracing()) return work();
  const attributes = { 'berth.job': job.id, 'berth.step': step.name };
  return traced({ name: `${undo ? 'undo' : 'step'} ${job.kind} ${step.name}`, attributes }, work);
}

export function noteEnded({ id, kind, subject, state, createdAtMs, endedAtMs, error, trace }: Job): void {
  if (trace === undefined) return;
  record({
    ...contextOf(trace),
    parentId: trace.parentId,
    name: `job ${kind}`,
    kind: 'internal',
    attributes: { 'berth.job': id, 'berth.subject': subject, 'berth.state': state },
    startMs: createdAtMs,
    endMs: endedAtMs ?? createdAtMs,
    error: error?.message,
  });
}
