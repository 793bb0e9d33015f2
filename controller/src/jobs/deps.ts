/** What the steps of jobs may use beside their transaction: the hosts, the placement policy, uploads. */
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Policy } from '../scheduler/world.ts';
import type { Tables } from '../state/state.ts';
import type { EngineDeps } from './engine/define.ts';
import type { Uploads } from './uploads.ts';

export interface JobDeps extends EngineDeps {
  readonly hosts: Hosts;
  readonly policy: Policy;
  readonly uploads: Pick<Uploads, 'seen' | 'sinceMs'>;
}

export function makeJobDeps(from: {
  readonly hosts: Hosts;
  readonly tables: Tables;
  readonly policy: Policy;
  readonly uploads: Uploads;
}): JobDeps {
  const { hosts, tables, policy, uploads } = from;
  return {
    hosts,
    policy,
    uploads,
    cancelOperation: async (hostId, operationId) => hosts.agent(hostId).cancelOperation(operationId),
    acknowledgeOperations: async (hostId, prefixes) => hosts.agent(hostId).acknowledgeOperations(prefixes),
    // a host that was removed from the cluster will never answer again
    isHostDead: (hostId: HostId) => tables.hosts.get(hostId) === undefined,
  };
}
