/** Room for a volume that stands alone, where it is being moved to: it counts there as if it lay there already. */
import type { HostId, PoolId, VolumeId } from '@berth/shared/model/ids.ts';
import type { Volume } from '@berth/shared/model/volume.ts';
import { place } from '../scheduler/place.ts';
import type { Tables, Tx } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { noCapacity } from './refused.ts';
import { volumeRequest } from './world.ts';

interface Context {
  readonly tables: Tables;
  readonly tx: Tx;
  readonly deps: Pick<JobDeps, 'world'>;
}
type Sized = Pick<Volume, 'name' | 'sizeBytes' | 'imageId'>;

/** Asked again when the job begins: others may have been given the room since it was started. @throws NO_CAPACITY */
export function insistRoom({ tables, deps }: Context, v: Sized, hostId: HostId, to: PoolId | null): void {
  const { name, sizeBytes, imageId } = v;
  const answer = place(
    deps.world.now(),
    volumeRequest({ sizeBytes, imageId, poolId: to ?? undefined }, tables, hostId),
  );
  // a host that is away, or takes nothing new, is no matter of room
  const full = 'hostId' in answer ? [] : answer.refusals.filter((f) => f.filter === 'disk' || f.filter === 'pool');
  if (full.length > 0) throw noCapacity({ name }, full, 'volume');
}

/** @param to null: `local`. @throws NO_CAPACITY */
export function reserveRoom(c: Context, volumeId: VolumeId, hostId: HostId, to: PoolId | null): void {
  const volume = c.tables.volumes.get(volumeId);
  if (volume === undefined) return;
  insistRoom(c, volume, hostId, to);
  c.tx.volumes.put({ ...volume, coming: { hostId, ...(to !== null && { poolId: to }) } });
}

/** It lies there, or does not come. Twice is once. */
export function releaseRoom(tx: Tx, volumeId: VolumeId): void {
  const { coming, ...volume } = tx.volumes.get(volumeId) ?? {};
  if (coming) tx.volumes.put(volume as Volume);
}
