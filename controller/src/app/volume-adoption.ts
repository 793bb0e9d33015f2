/** Takes a volume into the inventory that a host has, that is nobody's, and that the inventory does not know: what a person names. */
import { badState, ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { isId, timeOfId, type PoolId, type VolumeId } from '@berth/shared/model/ids.ts';
import type { Volume, VolumeUnit } from '@berth/shared/model/volume.ts';
import type { VolumeRecord } from '../hosts/decode.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { debtOfVolume } from '../jobs/volume-where.ts';
import type { State, Tables } from '../state/state.ts';
import { checkName } from './names.ts';
import { volumesNamed } from './volume-names.ts';
import { knownHolders } from './volume-units.ts';

const TIB = 1024 ** 4;
const SECTOR = 512;

interface Deps {
  readonly state: State;
  readonly hosts: Hosts;
}

/** As a volume is called that nobody has named yet. */
export const foundVolumeName = (id: string): string => `found-${id.replace(/^volume-/, '')}`;

/** @param name empty: `found-…`. */
export async function adoptVolume(deps: Deps, id: string, name: string, user: string): Promise<Volume> {
  const { state } = deps;
  const { host, record, volumeId } = find(deps, id);
  const wanted = checkName('volume', name === '' ? foundVolumeName(volumeId) : name);
  return state.update((tx) => {
    if (volumesNamed(tx, volumeId).length > 0) throw badState(`volume ${volumeId} is in the inventory by now`);
    if (volumesNamed(tx, wanted).length > 0)
      throw new ClusterError('ALREADY_EXISTS', `volume ${wanted} exists already`);
    const image = record.imageDigest === '' ? undefined : tx.images.byDigest(record.imageDigest)[0];
    if (record.imageDigest !== '' && !image)
      throw badState(
        `volume ${volumeId} is based on an image that the inventory does not know (${record.imageDigest}): adopt that first (berth host review ${host.name})`,
      );
    if (debtOfVolume(tx, volumeId, host.id))
      throw badState(
        `volume ${volumeId} was deleted or moved away, and goes as soon as ${host.name} can remove it: see berth event list`,
      );
    const pool = poolOf(tx, record, volumeId);
    const unit = unitOf(tx, deps.hosts, { host, record, volumeId });
    const { sizeBytes } = record;
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % SECTOR !== 0 || sizeBytes > 64 * TIB)
      throw badState(`host ${host.name} says that volume ${volumeId} has ${sizeBytes} bytes: that cannot be`);
    const volume: Volume = {
      ...{ id: volumeId, name: wanted, state: 'ready', hostId: host.id, sizeBytes, format: record.format },
      ...{ ...pool, ...unit, imageId: image?.id, labels: {}, createdAtMs: timeOfId(volumeId) },
    };
    tx.volumes.put(volume);
    const message = `volume ${wanted} was found on ${host.name} and adopted by ${user}`;
    const about = { subjectKind: 'volume', subject: wanted, message, jobId: undefined } as const;
    tx.event({ type: 'volume.adopted', severity: 'info', ...about });
    return volume;
  });
}

function poolOf({ pools }: Pick<Tables, 'pools'>, { poolId }: VolumeRecord, id: string): { readonly poolId?: PoolId } {
  if (poolId === undefined) return {};
  const pool = pools.get(poolId);
  if (pool) return { poolId: pool.id };
  throw badState(`volume ${id} lies in a pool that the inventory does not know (${poolId}): it stays as it is`);
}

/** A LUN is no two volumes, and one that is known to be a LUN is never made anew or moved. */
function unitOf(
  tables: Pick<Tables, 'pools' | 'volumes' | 'vms'>,
  hosts: Pick<Hosts, 'status'>,
  { host, record: { unitKey: key, poolId }, volumeId }: Found,
): { readonly unit?: VolumeUnit } {
  if (key === undefined) return {};
  const holder = knownHolders(tables).get(key);
  if (holder !== undefined)
    throw new ClusterError('IN_USE', `volume ${volumeId} of ${host.name} is a unit that is volume ${holder} already`);
  const units = hosts.status(host.id).pools?.find((p) => p.poolId === poolId)?.units;
  const name = units?.find((u) => u.key === key)?.name;
  if (name === undefined)
    throw badState(`volume ${volumeId} is a unit of its pool that ${host.name} does not see now (${key}). Try again`);
  return { unit: { name, key } };
}

interface Found {
  readonly host: Host;
  readonly record: VolumeRecord;
  readonly volumeId: VolumeId;
}

function find({ state, hosts }: Deps, id: string): Found {
  for (const host of state.tables.hosts.values()) {
    const record = hosts.has(host.id)?.volumes.get(id);
    if (record?.vmId === '' && !record.seed && isId('volume', id)) return { host, record, volumeId: id };
  }
  throw notFound(`no host has an unknown volume ${id.slice(0, 80)} that is nobody's. See: berth host review`);
}
