/**
 * Lets agents forget the operations of jobs that have ended. The engine does so when a job ends, once; what was lost then
 * (a silent host, a crash) is done here when the host comes up and lists what it still keeps. Never those of an open job.
 */
import { isEnded } from '@berth/shared/model/job.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { AgentClient } from '../hosts/agent-client.ts';
import type { Tables } from '../state/state.ts';

/** Of one call. */
const MOST_PREFIXES = 500;

/** @param runId of this run of the controller: what it pays debts with now is still wanted. */
export async function acknowledgeEnded(
  tables: Tables,
  host: { readonly id: HostId; readonly operationIds: readonly string[] },
  agent: Pick<AgentClient, 'acknowledgeOperations'>,
  runId: string,
): Promise<void> {
  const prefixes = new Set(host.operationIds.map((id) => endedPrefix(tables, host.id, id, runId)));
  prefixes.delete(undefined);
  const all = [...prefixes] as string[];
  for (let i = 0; i < all.length; i += MOST_PREFIXES)
    await agent.acknowledgeOperations(all.slice(i, i + MOST_PREFIXES));
}

/** `<job>.` or `debt.<run>.`; undefined while anybody may still ask for it. */
function endedPrefix(tables: Tables, hostId: HostId, operationId: string, runId: string): string | undefined {
  const [head = '', run = ''] = operationId.split('.');
  if (head === 'debt') return run === '' || run === runId ? undefined : `debt.${run}.`;
  if (!head.startsWith('job-')) return undefined;
  const job = tables.jobs.get(head);
  if (job && !isEnded(job.state)) return undefined;
  // a debt asks how the operation ended
  const owed = tables.debts.byHost(hostId).some((d) => d.kind === 'operation' && d.target.startsWith(`${head}.`));
  return owed ? undefined : `${head}.`;
}
