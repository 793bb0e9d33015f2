/**
 * How steps talk to agents: ask with the step's operation id, come back while it runs, turn a failure into an error. The
 * call is repeated with the same id until the operation has ended; Watch only makes the next look come sooner.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { isReason, REASONS } from '@berth/shared/errors/reasons.ts';
import type { AgentClient, OperationView } from '../hosts/agent-client.ts';
import { wait, type RemoteContext, type Wait } from './engine/define.ts';

type Polling = Pick<RemoteContext, 'attempt' | 'progress'>;

/** The longest time between two looks at an operation that no report told of. */
const SLOWEST_LOOK_MS = 2000;
export const pollMs = (attempt: number): number => Math.min(SLOWEST_LOOK_MS, 50 * 2 ** Math.min(attempt, 6));

/** Resolves with the operation when it has succeeded, with a wait while it runs; throws what it failed with. */
export async function settle(c: Polling, call: Promise<OperationView>, why: string): Promise<OperationView | Wait> {
  const op = await call;
  if (op.state === 'succeeded') return op;
  if (op.state === 'running') {
    if (op.totalBytes > 0) c.progress(op.doneBytes, op.totalBytes);
    return wait(pollMs(c.attempt), why);
  }
  throw failure(op);
}

/**
 * For long operations: an agent that is asked again begins a failed one anew, so what became of it is looked at first.
 * @param notes of the job: what it failed for may pass, and then it is begun anew at the try after the one that heard of it
 */
export async function known(
  agent: Pick<AgentClient, 'findOperation'>,
  opId: string,
  ask: () => Promise<OperationView>,
  notes: Map<string, unknown>,
): Promise<OperationView> {
  const op = await agent.findOperation(opId);
  if (op === undefined) return ask();
  if (op.state !== 'failed' || !mayPass(op)) return op;
  const heard = `heard of the failure of ${opId}`;
  if (notes.delete(heard)) return ask();
  notes.set(heard, true);
  return op;
}

const mayPass = ({ error }: OperationView): boolean =>
  error !== undefined && isReason(error.reason) && REASONS[error.reason].retry !== 'never';

export function failure(op: OperationView): ClusterError {
  if (op.state === 'cancelled' || op.error === undefined)
    return new ClusterError('CANCELLED', `operation ${op.id} was cancelled on its host`);
  const { reason, message, meta } = op.error;
  return new ClusterError(isReason(reason) ? reason : 'INTERNAL', message, meta);
}

/**
 * For what must succeed in the end (an undo, a removal past the point of no return): the agent remembers how an operation
 * ended, so an id that failed once fails for ever. What it failed for may have been mended since: then ask under a new id. Its end
 * wakes the job at once, so whoever looks then hears of that one; the next is for the try after it, when some time has passed.
 */
export async function insist(
  c: Polling & Pick<RemoteContext, 'nowMs' | 'notes'>,
  opId: string,
  ask: (operationId: string) => Promise<OperationView>,
  why: string,
): Promise<OperationView | Wait> {
  const first = await ask(opId);
  if (first.state !== 'failed' && first.state !== 'cancelled') return settle(c, Promise.resolve(first), why);
  const noted = `asked again for ${opId}`;
  const id = (c.notes.get(noted) as string | undefined) ?? `${opId}.${c.nowMs}`;
  c.notes.set(noted, id);
  const again = await ask(id);
  if (again.state !== 'running') c.notes.delete(noted);
  return settle(c, Promise.resolve(again), why);
}

/** What an agent has done, its report tells everybody else of; for that is waited so often, and no longer. */
const SEEN_WITHIN_TRIES = 8;

/** The end of a step whose effect people look at next: they must not be shown the state before it. */
export const untilSeen = (c: Polling, seen: boolean, why: string): null | Wait =>
  seen || c.attempt > SEEN_WITHIN_TRIES ? null : wait(pollMs(c.attempt), why);
