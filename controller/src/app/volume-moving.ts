/** Where volumes may be moved to: checks, and what the job is told. Talks to no host. */
import { badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId, PoolId } from '@berth/shared/model/ids.ts';
import { LOCAL_POOL } from '@berth/shared/model/pool.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { LockName } from '../jobs/engine/jobs.ts';
import { noCapacity } from '../jobs/refused.ts';
import type { MoveParams } from '../jobs/volume-move.ts';
import type { TransferParams } from '../jobs/volume-transfer.ts';
import { volumeRequest, type WorldView } from '../jobs/world.ts';
import { place } from '../scheduler/place.ts';
import type { Tables } from '../state/state.ts';
import { resolve } from './names.ts';
import { filePool, insistFiles } from './vm-pools.ts';
import { viewVm } from './vm-view.ts';
import type { FoundVolume } from './volume-names.ts';
import { viewVolume } from './volume-view.ts';

export interface MoveVolume {
  /** Empty: `local`, when a host is named. */
  readonly pool: string;
  /** Empty: where it is. */
  readonly host: string;
}

interface Seen {
  readonly tables: Tables;
  readonly hosts: Hosts;
  readonly nowMs: number;
  readonly world: WorldView;
}

/** To a pool of its host, or to another host. */
export type Move =
  | { readonly params: MoveParams; readonly transfer?: undefined; readonly locks: readonly LockName[] }
  | { readonly params?: undefined; readonly transfer: TransferParams; readonly locks: readonly LockName[] };

/** Undefined: it lies there. @throws BAD_STATE, NOT_FOUND, NO_CAPACITY, UNSUPPORTED */
export function moveWanted(found: FoundVolume, r: MoveVolume, seen: Seen): Move | undefined {
  const { tables, hosts } = seen;
  if (r.pool === '' && r.host === '') throw invalidArgument('where to? Say --pool POOL, or --host HOST');
  const view = viewVolume(found, { tables, hosts });
  const { hostId, hostName, name, id: volumeId, poolId } = view;
  if (hostId === undefined) throw badState(`volume ${name} is on no host yet`);
  const toHostId = r.host === '' ? hostId : resolve('host', tables.hosts, r.host).id;
  if (found.vm && toHostId !== hostId) throw itsVms(found, name, hostName);
  insistFiles(tables, poolId, `volume ${name}`);
  const { poolId: to } = filePool(tables, r.pool, `volume ${name}`);
  if (to === poolId && toHostId === hostId) return undefined;
  const imageId = found.vm ? found.disk.imageId : found.volume.imageId;
  const locks = locksFor([poolId, to], imageId);
  const wanted = { name, sizeBytes: view.sizeBytes, imageId, poolId: to };
  if (toHostId !== hostId) {
    checkTransfer(wanted, [hostId, toHostId], seen);
    return { transfer: { volumeId, toHostId, to: to ?? null }, locks };
  }
  needCapability({ name: hostName }, hosts.status(hostId).facts, 'volume.move');
  if (found.vm && viewVm(found.vm, seen).state === 'saved')
    throw badState(`vm ${found.vm.name} is saved, and goes on with its disks where they are. Start it, then move them`);
  checkRoom(wanted, hostId, seen);
  return { params: { volumeId, ...(found.vm && { vmId: found.vm.id }), to: to ?? null }, locks };
}

const locksFor = (pools: readonly (PoolId | undefined)[], imageId: ImageId | undefined): readonly LockName[] => [
  ...pools.flatMap((id) => (id === undefined ? [] : [`pool/${id}:shared` as const])),
  ...(imageId === undefined ? [] : [`image/${imageId}:shared` as const]),
];

const itsVms = (found: FoundVolume & { readonly vm: object }, name: string, host: string): Error =>
  badState(
    `volume ${name} is a disk of vm ${found.vm.name}, and lies on its host (${host}): a vm's disks go with it. ` +
      `To move it alone, detach it first (berth volume detach ${found.vm.name}/${found.disk.target})`,
  );

interface Wanted {
  readonly name: string;
  readonly sizeBytes: number;
  readonly imageId: ImageId | undefined;
  readonly poolId: PoolId | undefined;
}

function checkTransfer(v: Wanted, both: readonly [HostId, HostId], { tables, hosts, world }: Seen): void {
  for (const id of both)
    needCapability({ name: tables.hosts.get(id)?.name ?? id }, hosts.status(id).facts, 'volume.transfer');
  const answer = place(world.now(), volumeRequest(v, tables, both[1]));
  if (!('hostId' in answer)) throw noCapacity({ name: v.name }, answer.refusals, 'volume');
}

function checkRoom(v: Wanted, hostId: HostId, { tables, world }: Seen): void {
  const answer = place(world.now(), volumeRequest(v, tables, hostId));
  // a host that takes nothing new keeps what it has, which may lie elsewhere on it
  const full = 'hostId' in answer ? [] : answer.refusals.filter((f) => f.filter === 'disk' || f.filter === 'pool');
  if (full.length > 0) throw noCapacity({ name: v.name }, full, 'volume');
}

export const poolWanted = (
  tables: Pick<Tables, 'pools'>,
  volume: string,
  pool: string,
): { readonly poolId?: PoolId } => (pool === LOCAL_POOL ? {} : filePool(tables, pool, `volume ${volume}`));
