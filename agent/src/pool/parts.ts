/** The parts of an agent that have to do with pools, put together. What each does is in the files beside this one. */
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Drivers } from '../drivers/machine.ts';
import type { Operations } from '../operations/operations.ts';
import { PoolImages } from './pool-images.ts';
import { poolLooks } from './pool-looks.ts';
import { PoolStore } from './pool-store.ts';
import { withPools } from './pool-volumes.ts';
import { PoolWatch } from './pool-watch.ts';
import { Pools, type PoolLooks } from './pools.ts';
import { SpaceKeeper } from './space.ts';

export interface PoolPartsFrom {
  readonly drivers: Drivers;
  readonly operations: Operations;
  readonly dataDir: string;
  readonly hostId: string;
  readonly hostName: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Unless the folders of pools are those of this machine. */
  readonly looks?: PoolLooks;
}

export function createPoolParts(from: PoolPartsFrom) {
  const { drivers, clock, log, dataDir, hostName } = from;
  const { storage } = drivers;
  const store = new PoolStore(dataDir, log);
  const bootId = async (): Promise<string> => (await drivers.machine.facts()).bootId;
  const at = { storage, hostId: from.hostId, hostName };
  const watch = new PoolWatch({ ...at, store, clock, log, bootId });
  const pools = new Pools({
    ...{ ...at, store, bootId, log, looks: from.looks ?? poolLooks(dataDir, clock) },
    ...{ hypervisor: drivers.hypervisor, operations: from.operations },
  });
  const images = new PoolImages({ ...at, store, disks: drivers.disks, operations: from.operations });
  const disks = withPools(drivers.disks, { ...at, store, watch });
  const space = new SpaceKeeper({ hypervisor: drivers.hypervisor, disks, watch, clock, log });
  return { store, watch, pools, images, disks, space };
}
