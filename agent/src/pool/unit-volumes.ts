/**
 * Volumes that are units of other storage (LUNs of iSCSI, Fibre Channel, multipath): nothing of them is made or removed here. One
 * becomes a volume with all that is in it, and is let go of in the same way. That no two hosts have one at a time is the
 * controller's; that no two volumes of this host are one, and that nothing else of this host uses it, is looked at here, and that
 * it still is the one that was given out: storage may have put another in its place.
 */
import { badState, ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { holdsUnits } from '@berth/shared/model/pool.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { UnitWanted, VolumeSpec } from '../drivers/disks.ts';
import type { Storage } from '../drivers/storage.ts';
import { poolUuid } from './pool-spec.ts';
import type { KeptPool, KeptVolume, PoolStore } from './pool-store.ts';

export interface UnitDeps {
  readonly store: PoolStore;
  readonly storage: Storage;
  readonly hostName: string;
}

/** Makes it the volume. Twice is once. @param kept as it shall be remembered. @throws as unitOf, INVALID_ARGUMENT */
export async function ensureUnit(
  deps: UnitDeps,
  pool: KeptPool,
  spec: VolumeSpec & { readonly unit: UnitWanted },
  kept: KeptVolume,
): Promise<void> {
  const there = deps.store.volume(spec.volumeId);
  if (there?.unit?.key === spec.unit.key) return;
  if (there || !holdsUnits(pool.spec.source.type))
    throw invalidArgument(`volume ${spec.volumeId}: pool ${pool.spec.name} has no units to give`);
  await deps.store.putVolume({ ...kept, unit: await unitOf(deps, pool, spec, spec.unit) });
}

/** As it is kept. @throws NOT_FOUND, BAD_STATE: it is another; IN_USE */
async function unitOf(
  { store, storage, hostName }: UnitDeps,
  { spec: pool }: KeptPool,
  spec: VolumeSpec,
  { name, key }: UnitWanted,
): Promise<NonNullable<KeptVolume['unit']>> {
  const uuid = poolUuid(pool.poolId);
  await storage.refresh(uuid);
  const there = (await storage.listVolumes(uuid)).find((v) => v.name === name);
  if (there === undefined) throw notFound(`pool ${pool.name} on ${hostName} has no unit ${name}. See: berth pool show`);
  if ((there.key ?? '') !== key)
    throw badState(`${name} of pool ${pool.name} on ${hostName} is another unit by now (${there.key ?? 'no key'})`);
  if (there.capacityBytes !== spec.sizeBytes)
    throw badState(`${name} of pool ${pool.name} has ${formatBytes(there.capacityBytes)} by now. Try again`);
  const other = store.volumes().find((v) => v.unit?.key === key && v.volumeId !== spec.volumeId);
  if (other) throw new ClusterError('IN_USE', `${name} of pool ${pool.name} is volume ${other.volumeId} already`);
  const path = await storage.pathOf(uuid, name);
  const user = await storage.deviceUser(path);
  if (user) throw new ClusterError('IN_USE', `${name} of pool ${pool.name} is in use on ${hostName}: ${user}`);
  return { name, key, path };
}

/** Before anything writes to it. @throws BAD_STATE: it is not there, or what is there is another */
export async function insistUnit(
  { store, storage, hostName }: UnitDeps,
  { volumeId, poolId, unit }: Pick<KeptVolume, 'volumeId' | 'poolId' | 'unit'>,
): Promise<void> {
  if (unit === undefined) return;
  const pool = store.pool(poolId)?.spec.name ?? poolId;
  const uuid = poolUuid(poolId);
  await storage.refresh(uuid);
  const there = (await storage.listVolumes(uuid)).find((v) => v.name === unit.name);
  if (there?.key === unit.key && (await storage.pathOf(uuid, unit.name)) === unit.path) return;
  const what = there === undefined ? 'is not there' : `is another unit by now (${there.key ?? 'no key'})`;
  throw badState(
    `volume ${volumeId} was ${unit.name} of pool ${pool} (${unit.key}); on ${hostName} that ${what}. Nothing is done with it: ` +
      `let the storage give the former one that place again, or give the volume up`,
  );
}
