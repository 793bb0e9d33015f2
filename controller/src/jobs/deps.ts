/** What the steps of jobs may use beside their transaction: the hosts, the placement policy, uploads, other jobs. */
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Policy } from '../scheduler/world.ts';
import type { Tables } from '../state/state.ts';
import type { EngineDeps } from './engine/define.ts';
import type { Jobs } from './engine/jobs.ts';
import type { Uploads } from './uploads.ts';

export interface JobDeps extends EngineDeps {
  readonly hosts: Hosts;
  readonly policy: Policy;
  readonly uploads: Pick<Uploads, 'seen'>;
  /** Starts a keyed job, or joins the one that runs. */
  readonly startJob: Jobs['start'];
}

/** @param jobs asked when a step runs: the engine needs these deps before it exists itself. */
export function makeJobDeps(from: {
  readonly hosts: Hosts;
  readonly tables: Tables;
  readonly policy: Policy;
  readonly uploads: Uploads;
  readonly jobs: () => Jobs;
}): JobDeps {
  const { hosts, tables, policy, uploads } = from;
  return {
    hosts,
    policy,
    uploads,
    startJob: (tx, def, params, options) => from.jobs().start(tx, def, params, options),
    cancelOperation: async (hostId, operationId) => hosts.agent(hostId).cancelOperation(operationId),
    acknowledgeOperations: async (hostId, prefixes) => hosts.agent(hostId).acknowledgeOperations(prefixes),
    // a host that was removed from the cluster will never answer again
    isHostDead: (hostId: HostId) => tables.hosts.get(hostId) === undefined,
  };
}
