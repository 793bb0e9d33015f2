/**
 * The marks that say whose storage it is: an empty volume with a name. A shared pool has one, which every host must find; another's
 * mark, or that of the same pool on another host where nothing is shared, means that this is other storage than was meant.
 */
import { badState, ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { takesDisks } from '@berth/shared/model/pool.ts';
import type { Storage } from '../drivers/storage.ts';
import { poolUuid, type PoolSpec } from './pool-spec.ts';
import type { KeptPool } from './pool-store.ts';

const MARK = /^berth\.(pool-[a-z0-9-]+)(?:\.(host-[a-z0-9-]+))?\.mark$/;
const MARK_BYTES = 512;

export interface MarkCheck {
  readonly storage: Storage;
  readonly hostId: string;
  readonly hostName: string;
}

const markOf = ({ poolId, shared }: PoolSpec, hostId: string): string =>
  `berth.${poolId}${shared ? '' : `.${hostId}`}.mark`;

/** As people know it. */
const placeOf = ({ source: { targetPath, type, name } }: PoolSpec): string => targetPath || `${type} ${name}`;

/** @param marked another host has put the mark there. @throws BAD_STATE, IN_USE: it is other storage than is meant. */
export async function ensureMark(at: MarkCheck, spec: PoolSpec, marked: boolean): Promise<void> {
  const uuid = poolUuid(spec.poolId);
  const own = markOf(spec, at.hostId);
  const names = (await at.storage.listVolumes(uuid)).map((v) => v.name);
  for (const name of names) if (name !== own) refuseOther(at, spec, MARK.exec(name));
  if (names.includes(own)) return;
  if (marked) throw noMark(at, spec);
  try {
    await at.storage.createVolume(uuid, {
      name: own,
      format: 'raw',
      capacityBytes: MARK_BYTES,
      readable: true,
      allocated: true,
    });
  } catch (e) {
    if (!isClusterError(e, 'ALREADY_EXISTS')) throw e;
  }
}

function refuseOther({ hostName }: MarkCheck, spec: PoolSpec, mark: RegExpExecArray | null): void {
  if (mark === null) return;
  const [, poolId, hostId] = mark;
  const where = `${placeOf(spec)} on ${hostName}`;
  if (poolId !== spec.poolId)
    throw new ClusterError('IN_USE', `pool ${spec.name}: ${where} belongs to another pool already (${poolId})`);
  if (spec.shared)
    throw badState(`pool ${spec.name}: ${where} was made as a pool of one host; a shared one needs storage of its own`);
  throw badState(
    `pool ${spec.name}: ${where} is the same storage as on another host (${hostId}): if hosts shall share it, say so: --shared`,
  );
}

/** As far as libvirt has looked. @throws BAD_STATE: a mount is missing, or leads elsewhere */
export async function insistMark(at: MarkCheck, { spec, marked }: KeptPool): Promise<void> {
  if (!marked || !takesDisks(spec.source.type)) return;
  if (!(await at.storage.hasVolume(poolUuid(spec.poolId), markOf(spec, at.hostId)))) throw noMark(at, spec);
}

/** What libvirt knows of it is as it is now, and it is the storage that is meant. Gives its uuid. @throws BAD_STATE */
export async function lookedAt(at: MarkCheck, pool: KeptPool): Promise<string> {
  const uuid = poolUuid(pool.spec.poolId);
  await at.storage.refresh(uuid);
  await insistMark(at, pool);
  return uuid;
}

const noMark = ({ hostName }: MarkCheck, spec: PoolSpec): ClusterError => {
  const { name, shared } = spec;
  return badState(
    `pool ${name}: ${placeOf(spec)} on ${hostName} is not the storage ${shared ? 'that the other hosts of this pool have' : 'that it was'} ` +
      `(it bears no mark of it). Mount ${shared ? 'the same storage' : 'what belongs'} there, then start the pool again: berth pool start ${name}`,
  );
};

/** Takes back the mark of this pool, where it can. */
export async function removeMark(at: MarkCheck, spec: PoolSpec): Promise<void> {
  await at.storage.removeVolume(poolUuid(spec.poolId), markOf(spec, at.hostId));
}
