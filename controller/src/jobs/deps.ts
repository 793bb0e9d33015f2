/** What the steps of jobs may use beside their transaction: the hosts, the picture for placements, uploads. */
import type { HostId } from '@berth/shared/model/ids.ts';
import { Swarms } from '../distribution/swarms.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import type { CaRotation } from './ca-rotation.ts';
import type { EngineDeps } from './engine/define.ts';
import type { Uploads } from './uploads.ts';
import type { WorldView } from './world.ts';

export interface JobDeps extends EngineDeps {
  readonly hosts: Hosts;
  readonly world: WorldView;
  readonly uploads: Pick<Uploads, 'seen' | 'sinceMs'>;
  readonly ca: CaRotation;
  readonly swarms: Swarms;
}

const never = (): never => {
  throw new Error('BUG: this controller has no CAs to rotate');
};
const NO_ROTATION: CaRotation = {
  ...{ begin: never, abandon: never, issue: never, finish: never },
  ...{ untold: never, unissued: never, hurried: never },
};

export function makeJobDeps(from: {
  readonly hosts: Hosts;
  readonly tables: Tables;
  readonly world: WorldView;
  readonly uploads: Uploads;
  /** Needed by ca.rotate alone. */
  readonly ca?: CaRotation;
}): JobDeps {
  const { hosts, tables, world, uploads, ca = NO_ROTATION } = from;
  return {
    hosts,
    world,
    uploads,
    ca,
    swarms: new Swarms(),
    cancelOperation: async (hostId, operationId) => hosts.agent(hostId).cancelOperation(operationId),
    acknowledgeOperations: async (hostId, prefixes) => hosts.agent(hostId).acknowledgeOperations(prefixes),
    // a host that was removed from the cluster will never answer again
    isHostDead: (hostId: HostId) => tables.hosts.get(hostId) === undefined,
  };
}
