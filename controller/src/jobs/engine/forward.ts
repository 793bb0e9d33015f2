/**
 * One step forwards: run it, and log how it ended; or find that the job has to stop here. What is logged between two calls
 * to agents shares one commit: it is durable before the next call, and before anybody is told.
 */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Tx } from '../../state/state.ts';
import { StateFailed } from '../../state/store.ts';
import { call, localContext, remoteContext, type At, type Outcome } from './at.ts';
import { backOffMs, judge, toJobError } from './classify.ts';
import { Wait } from './define.ts';
import { tracedStep } from './trace.ts';
import { alarm, NOT_WAITING, record, sayWaiting, waiting, type NewJobEvent } from './record.ts';

export async function stepForward(at: At): Promise<Outcome | undefined> {
  let stop: ClusterError | undefined;
  try {
    stop = isFirst(at) ? undefined : interruption(at);
  } catch (e) {
    return onError(at, e);
  }
  if (stop && !at.step.forwardOnly) return at.step.irrevocable && at.record ? lastWord(at, stop) : fail(at, stop);
  if (stop)
    await alarm(
      at,
      'job.late',
      `${at.job.kind} ${at.job.subject}: ${stop.message}; it goes on, because it is past its point of no return`,
    );
  return at.step.local ? runLocal(at) : runRemote(at);
}

/**
 * What is put when a job is started is taken back by its first step, if that has run: so a job that is cancelled before it
 * began begins, and goes back at once.
 */
const isFirst = (at: At): boolean => at.step.local && at.record === undefined && at.step === at.def.steps[0];

/** Why the job must not go on: cancelled, too late, or its host is gone for good. */
function interruption(at: At): ClusterError | undefined {
  const { env, step } = at;
  const job = env.state.tables.jobs.get(at.job.id) ?? at.job;
  if (job.cancelRequested && !step.forwardOnly)
    return new ClusterError('CANCELLED', `${job.kind} ${job.subject} was cancelled`);
  if (env.clock.now() >= deadlineOf(at))
    return new ClusterError(
      'DEADLINE_EXCEEDED',
      `${job.kind} ${job.subject} did not get past ${step.name} in time${lastWait(at)}`,
    );
  const host = call.host(at);
  if (host !== undefined && !step.forwardOnly && env.deps.isHostDead?.(host))
    return new ClusterError('HOST_UNREACHABLE', `the host of ${job.subject} was declared dead`, { hostId: host });
  return undefined;
}

const lastWait = (at: At): string => (at.job.waitReason ? ` (${at.job.waitReason})` : '');

function deadlineOf(at: At): number {
  const ofStep = at.step.deadlineMs === undefined || !at.record ? Infinity : at.record.startedAtMs + at.step.deadlineMs;
  return Math.min(ofStep, at.job.deadlineAtMs ?? Infinity);
}

const started = (at: At, data?: unknown): NewJobEvent[] => (at.record ? [] : [{ type: 'started', data }]);

async function runLocal(at: At): Promise<Outcome | undefined> {
  const attempt = at.live.nextTry(at.step.name);
  try {
    const w = await tracedStep(at, () =>
      at.env.state.apply((tx) => {
        const out = call.local(at, localContext(at, attempt, tx));
        if (Wait.is(out)) return logLocalWait(at, tx, out);
        record(at, tx, [...started(at), { type: 'succeeded', data: out }], { state: 'running', ...NOT_WAITING });
        return undefined;
      }),
    );
    return w && { type: 'waiting', ms: untilDeadline(at, w.ms) };
  } catch (e) {
    return onError(at, e);
  }
}

/** What the step wrote before it waited is kept; its log says so, and what it wants to remember. */
function logLocalWait(at: At, tx: Tx, w: Wait): Wait {
  const before = at.record?.started;
  const isNew = !before?.waited || JSON.stringify(before.memo) !== JSON.stringify(w.memo);
  if (isNew) record(at, tx, [{ type: 'started', data: { waited: true, memo: w.memo } }]);
  sayWaiting(at, tx, w.ms, w.why);
  return w;
}

async function runRemote(at: At): Promise<Outcome | undefined> {
  if (!at.record) {
    await at.env.state.apply((tx) => record(at, tx, [{ type: 'started' }], { state: 'running', ...NOT_WAITING }));
    return undefined;
  }
  await at.env.state.settled();
  try {
    const out = await tracedStep(at, () => inTurn(at));
    if (Wait.is(out)) return await waiting(at, untilDeadline(at, out.ms), out.why);
    return await succeeded(at, out);
  } catch (e) {
    return onError(at, e);
  }
}

async function succeeded(at: At, out: unknown): Promise<undefined> {
  at.live.clearErrors(at.step.name);
  await at.env.state.apply((tx) =>
    record(at, tx, [{ type: 'succeeded', data: out }], { state: 'running', ...NOT_WAITING }),
  );
}

/**
 * Of a step that cannot be taken back, at which the job is to stop: first none of its operations may run any more, then it is heard
 * how they ended. A host that stays silent, or is dead, cannot tell: then the job stops, and says that.
 */
async function lastWord(at: At, stop: ClusterError): Promise<Outcome | undefined> {
  await at.env.state.settled();
  const host = call.host(at);
  const untold = `${stop.message}; whether ${at.step.name} was done, its host has not told`;
  if (host !== undefined && at.env.deps.isHostDead?.(host)) return fail(at, new ClusterError(stop.reason, untold));
  const sinceMs = at.live.since(`${at.step.name}.stop`, at.env.clock.now());
  try {
    if (host !== undefined) for (const op of call.operations(at)) await at.env.deps.cancelOperation?.(host, op);
    at.live.abort = new AbortController();
    const out = await call.remote(at, remoteContext(at, at.live.nextTry(at.step.name)));
    return Wait.is(out) ? await waiting(at, out.ms, out.why) : await succeeded(at, out);
  } catch (e) {
    if (e instanceof StateFailed) throw e;
    if (at.env.stopping()) return { type: 'stopped' };
    if (judge(e, at.step) === 'failed') return fail(at, isClusterError(e, 'CANCELLED') ? stop : e);
    const leftMs = sinceMs + at.env.giveUpMs - at.env.clock.now();
    if (leftMs <= 0) return fail(at, new ClusterError(stop.reason, untold));
    at.live.waitsForHost = host;
    const ms = backOffMs(at.live.nextError(at.step.name), at.env.random.next());
    return waiting(at, Math.min(ms, leftMs), toJobError(e).message);
  }
}

/** The call itself: when it is this job's turn at the host, and no longer than its deadline. */
async function inTurn(at: At): Promise<unknown> {
  const abort = (at.live.abort = new AbortController());
  at.live.running = true;
  const ms = deadlineOf(at) - at.env.clock.now();
  const timer = Number.isFinite(ms) ? at.env.clock.after(Math.max(0, ms), () => abort.abort('deadline')) : undefined;
  let release: (() => void) | undefined;
  try {
    const host = call.host(at);
    if (host !== undefined) release = await at.env.turns.take(host, abort.signal);
    return await call.remote(at, remoteContext(at, at.live.nextTry(at.step.name)));
  } finally {
    timer?.cancel();
    at.live.running = false;
    release?.();
  }
}

async function onError(at: At, e: unknown): Promise<Outcome | undefined> {
  if (e instanceof StateFailed) throw e;
  if (at.env.stopping()) return { type: 'stopped' };
  const verdict = judge(e, at.step);
  // An aborted call fails in its own words; the reason is found by the interruption that aborted it.
  if (!at.step.local && at.live.abort.signal.aborted && interruption(at)) return undefined;
  if (verdict === 'failed' && !at.step.forwardOnly) return fail(at, e);
  const error = toJobError(e);
  if (verdict === 'failed')
    await alarm(
      at,
      'job.blocked',
      `${at.job.kind} ${at.job.subject} cannot finish ${at.step.name}, and keeps trying: ${error.message}`,
    );
  if (verdict === 'unknown') at.live.waitsForHost = call.host(at);
  const ms = backOffMs(at.live.nextError(at.step.name), at.env.random.next());
  return waiting(at, untilDeadline(at, ms), error.message);
}

/** A wait does not oversleep the deadline. */
function untilDeadline(at: At, ms: number): number {
  const left = deadlineOf(at) - at.env.clock.now();
  return at.step.forwardOnly && left <= 0 ? ms : Math.min(ms, Math.max(0, left));
}

/** From here the job goes back. A step that left no trace is marked, so that its undo is not called for nothing. */
async function fail(at: At, e: unknown): Promise<undefined> {
  const error = toJobError(e);
  await at.env.state.update((tx) =>
    record(at, tx, [...started(at, { skipped: true }), { type: 'failed', data: error }], {
      state: 'unwinding',
      error,
      ...NOT_WAITING,
    }),
  );
  return undefined;
}
