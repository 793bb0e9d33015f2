/** Where volumes may be moved to: checks, and what the job is told. Talks to no host. */
import { badState, ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId, PoolId } from '@berth/shared/model/ids.ts';
import { LOCAL_POOL } from '@berth/shared/model/pool.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { LockName } from '../jobs/engine/jobs.ts';
import { noCapacity } from '../jobs/refused.ts';
import type { MoveParams } from '../jobs/volume-move.ts';
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

export interface Move {
  readonly params: MoveParams;
  readonly locks: readonly LockName[];
}

/** Undefined: it lies there. @throws BAD_STATE, NOT_FOUND, NO_CAPACITY, UNSUPPORTED */
export function moveWanted(found: FoundVolume, r: MoveVolume, seen: Seen): Move | undefined {
  const { tables, hosts } = seen;
  if (r.pool === '' && r.host === '') throw invalidArgument('where to? Say --pool POOL');
  const view = viewVolume(found, { tables, hosts });
  const { hostId, hostName, name, id: volumeId, poolId } = view;
  if (hostId === undefined) throw badState(`volume ${name} is on no host yet`);
  if (r.host !== '' && resolve('host', tables.hosts, r.host).id !== hostId) throw elsewhere(found, name, hostName);
  insistFiles(tables, poolId, `volume ${name}`);
  const { poolId: to } = filePool(tables, r.pool, `volume ${name}`);
  if (to === poolId) return undefined;
  needCapability({ name: hostName }, hosts.status(hostId).facts, 'volume.move');
  if (found.vm && viewVm(found.vm, seen).state === 'saved')
    throw badState(`vm ${found.vm.name} is saved, and goes on with its disks where they are. Start it, then move them`);
  const imageId = found.vm ? found.disk.imageId : found.volume.imageId;
  checkRoom({ name, sizeBytes: view.sizeBytes, imageId, poolId: to }, hostId, seen);
  const pools = [poolId, to].flatMap((id) => (id === undefined ? [] : [`pool/${id}:shared` as const]));
  const images = imageId === undefined ? [] : [`image/${imageId}:shared` as const];
  const vmId = found.vm && { vmId: found.vm.id };
  return { params: { volumeId, ...vmId, to: to ?? null }, locks: [...pools, ...images] };
}

const elsewhere = (found: FoundVolume, name: string, host: string): Error =>
  found.vm
    ? badState(
        `volume ${name} is a disk of vm ${found.vm.name}, and lies on its host (${host}): a vm's disks go with it. ` +
          `To move it alone, detach it first (berth volume detach ${found.vm.name}/${found.disk.target})`,
      )
    : new ClusterError(
        'UNSUPPORTED',
        `volume ${name} lies on ${host}, and can be moved between the pools of that host only`,
      );

function checkRoom(
  v: {
    readonly name: string;
    readonly sizeBytes: number;
    readonly imageId: ImageId | undefined;
    readonly poolId: PoolId | undefined;
  },
  hostId: HostId,
  { tables, world }: Seen,
): void {
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
