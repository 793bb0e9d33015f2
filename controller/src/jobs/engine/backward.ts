/** One step back: cancel what may still run, undo, and log it; leave a debt at a host that cannot be asked. */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { StateFailed } from '../../state/store.ts';
import { call, localContext, remoteContext, stepContext, type At, type Outcome } from './at.ts';
import { backOffMs, judge, toJobError } from './classify.ts';
import { Wait, type Debt } from './define.ts';
import { tracedStep } from './trace.ts';
import { jobEvent, NOT_WAITING, record, sayWaiting, waiting, type NewJobEvent } from './record.ts';

export async function stepBack(at: At): Promise<Outcome | undefined> {
  if (at.record?.started.skipped || (!at.step.undo && !at.step.host)) return nothingToUndo(at);
  return at.step.local ? undoLocal(at) : undoRemote(at);
}

const begun = (at: At): NewJobEvent[] => (at.record?.last === 'undo_started' ? [] : [{ type: 'undo_started' }]);

async function nothingToUndo(at: At): Promise<undefined> {
  await at.env.state.update((tx) => record(at, tx, [...begun(at), { type: 'undo_finished' }], NOT_WAITING));
  return undefined;
}

async function undoLocal(at: At): Promise<Outcome | undefined> {
  const attempt = at.live.nextTry(`${at.step.name}.undo`);
  try {
    const w = await at.env.state.update((tx) => {
      const r = call.undoLocal(at, localContext(at, attempt, tx));
      if (!Wait.is(r)) record(at, tx, [...begun(at), { type: 'undo_finished' }], NOT_WAITING);
      else record(at, tx, begun(at));
      if (!Wait.is(r)) return undefined;
      sayWaiting(at, tx, r.ms, r.why);
      return r;
    });
    return w && { type: 'waiting', ms: w.ms };
  } catch (e) {
    return onError(at, e, undefined);
  }
}

async function undoRemote(at: At): Promise<Outcome | undefined> {
  if (at.record?.last !== 'undo_started') {
    await at.env.state.update((tx) => record(at, tx, [{ type: 'undo_started' }], NOT_WAITING));
    return undefined;
  }
  await at.env.state.settled();
  let host: HostId | undefined;
  try {
    host = call.host(at);
    if (host !== undefined && at.env.deps.isHostDead?.(host)) return await leaveDebts(at, host, 'it was declared dead');
    const w = await tracedStep(at, () => inTurn(at, host), true);
    if (Wait.is(w)) return await waiting(at, w.ms, w.why);
    at.live.clearErrors(`${at.step.name}.undo`);
    await at.env.state.update((tx) => record(at, tx, [{ type: 'undo_finished' }], NOT_WAITING));
    return undefined;
  } catch (e) {
    return onError(at, e, host);
  }
}

/** First no operation of the step may run or arrive any more; only then is its effect taken back. */
async function inTurn(at: At, host: HostId | undefined): Promise<Wait | void> {
  const { signal } = (at.live.abort = new AbortController());
  const release = host === undefined ? undefined : await at.env.turns.take(host, signal);
  try {
    if (host !== undefined) for (const op of call.operations(at)) await at.env.deps.cancelOperation?.(host, op);
    return await call.undoRemote(at, remoteContext(at, at.live.nextTry(`${at.step.name}.undo`)));
  } finally {
    release?.();
  }
}

async function onError(at: At, e: unknown, host: HostId | undefined): Promise<Outcome | undefined> {
  if (e instanceof StateFailed) throw e;
  if (at.env.stopping()) return { type: 'stopped' };
  const verdict = judge(e, at.step);
  if (verdict === 'failed') return stuck(at, e);
  const silentMs = at.env.clock.now() - (at.record?.undoStartedAtMs ?? at.env.clock.now());
  if (host !== undefined && silentMs >= at.env.giveUpMs)
    // the host is there, and could not pay
    return isClusterError(e, 'STORAGE_UNAVAILABLE') ? stuck(at, e) : leaveDebts(at, host, toJobError(e).message);
  if (verdict === 'unknown') at.live.waitsForHost = host;
  const ms = backOffMs(at.live.nextError(`${at.step.name}.undo`), at.env.random.next());
  return waiting(
    at,
    host === undefined ? ms : Math.min(ms, Math.max(0, at.env.giveUpMs - silentMs)),
    toJobError(e).message,
  );
}

async function stuck(at: At, e: unknown): Promise<Outcome> {
  const error = toJobError(e);
  const { job, step } = at;
  await at.env.state.update((tx) => {
    const patch = {
      state: 'stuck',
      waitReason: `${step.name} could not be undone: ${error.message}`,
      wakeAtMs: undefined,
    } as const;
    record(at, tx, [...begun(at), { type: 'undo_failed', data: error }], patch);
    const advice = `Then berth job retry ${job.id}, or berth job accept ${job.id} to leave it as it is`;
    jobEvent(tx, job, 'job.stuck', 'alarm', `${job.kind} ${job.subject} is stuck: ${patch.waitReason}. ${advice}`);
  });
  return { type: 'stuck' };
}

/** The job ends without the host; what is left there is paid before the host counts as up again. */
async function leaveDebts(at: At, hostId: HostId, why: string): Promise<undefined> {
  const { job, step, env } = at;
  const host = env.state.tables.hosts.get(hostId);
  const operations = call.operations(at).map((target): Debt => ({
    kind: 'operation',
    target,
    vmId: undefined,
    why: `${job.kind} ${job.subject} was taken back`,
  }));
  const rest = step.debts?.(stepContext(at, 1) as never, at.record?.out as never) ?? [];
  await env.state.update((tx) => {
    const debts = host ? [...operations, ...rest] : [];
    debts.forEach((d, i) => tx.debts.put({ ...d, id: `${job.id}.${step.name}.${i}`, hostId }));
    record(at, tx, [{ type: 'undo_finished', data: { debts: debts.length } }], NOT_WAITING);
    if (host)
      jobEvent(
        tx,
        job,
        'job.debt',
        'warning',
        `${job.kind} ${job.subject}: ${step.name} stays undone on ${host.name} until it is back (${why})`,
      );
  });
  return undefined;
}
