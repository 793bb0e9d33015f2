/** Storage pools from what an agent sends: bounded, in our own types. Pure. */
import type { PoolStatus } from '@berth/proto/agent/v1/pool.ts';
import { POOL_STATES, type PoolSeen } from '@berth/shared/model/pool.ts';
import { bytes } from './decode.ts';
import { clip, LIMITS } from './limits.ts';

export const toPool = (p: PoolStatus): PoolSeen => ({
  ...{ poolId: clip(p.poolId, 64), name: clip(p.name, 128), uuid: clip(p.uuid, 64), type: clip(p.type, 32) },
  state: POOL_STATES.find((s) => s === p.state) ?? 'inactive',
  reason: clip(p.reason),
  capacityBytes: bytes(p.capacityBytes),
  allocationBytes: bytes(p.allocationBytes),
  availableBytes: bytes(p.availableBytes),
  volumesAllocatedBytes: bytes(p.volumesAllocatedBytes),
  targetPath: clip(p.targetPath),
  generation: bytes(p.generation),
  imageDigests: p.imageDigests.slice(0, LIMITS.list).map((d) => clip(d, 128)),
});
