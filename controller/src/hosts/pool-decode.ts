/** Storage pools from what an agent sends: bounded, in our own types. Pure. */
import type { PoolStatus, PoolUnit as UnitOnWire } from '@berth/proto/agent/v1/pool.ts';
import { POOL_STATES, type PoolSeen, type PoolUnit } from '@berth/shared/model/pool.ts';
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
  ...(p.units.length > 0 && { units: p.units.slice(0, LIMITS.list).map(toUnit) }),
});

const toUnit = (u: UnitOnWire): PoolUnit => ({
  ...{ name: clip(u.name, 128), key: clip(u.key, 256), sizeBytes: bytes(u.sizeBytes) },
});
