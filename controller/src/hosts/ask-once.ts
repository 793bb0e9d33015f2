/**
 * One request to a host that is no job's: done once, under an id that nobody uses again, so the agent is told to forget it at once. An
 * agent that was not told (it was silent then) still keeps it when it comes up again, and is told then, as of jobs that are not known.
 */
import { newId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { AgentClient } from './agent-client.ts';

/** @param name last part of the operation's id: `tune` */
export async function askOnce<T>(
  agent: Pick<AgentClient, 'acknowledgeOperations'>,
  clock: Pick<Clock, 'now'>,
  name: string,
  ask: (operationId: string) => Promise<T>,
): Promise<T> {
  const prefix = `${newId('job', clock.now())}.`;
  try {
    return await ask(prefix + name);
  } finally {
    agent.acknowledgeOperations([prefix]).catch(() => undefined);
  }
}
