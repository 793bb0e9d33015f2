/** The pools of a VM's disks: by name, and what there is to know before a disk is put into one. Reads tables; writes nothing. */
import { badState, unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { ImageId, NetworkId, PoolId } from '@berth/shared/model/ids.ts';
import { DISK_POOL_TYPES, LOCAL_POOL, takesDisks } from '@berth/shared/model/pool.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import { resolve } from './names.ts';

type Pools = Pick<Tables, 'pools'>;

/** @param at begins a refusal: `disks.0`, `volume data:`. @throws NOT_FOUND, BAD_STATE, UNSUPPORTED */
export function diskPool(tables: Pools, name: string | undefined, at: string): { readonly poolId?: PoolId } {
  if (name === undefined || name === '' || name === LOCAL_POOL) return {};
  const pool = resolve('pool', tables.pools, name);
  const what = `${at}${at.endsWith(':') ? ' ' : '.'}pool ${pool.name}`;
  if (!takesDisks(pool.source.type))
    throw unsupported(`${what} is of type ${pool.source.type}: Berth makes disks in ${DISK_POOL_TYPES.join(', ')}`);
  if (pool.state !== 'ready') throw badState(`${what} is ${pool.state}`);
  if (!pool.started) throw badState(`${what} is stopped: berth pool start ${pool.name}`);
  return { poolId: pool.id };
}

/** As people call it; empty: local. */
export const poolName = (tables: Pools, poolId: PoolId | undefined): string =>
  poolId === undefined ? '' : (tables.pools.get(poolId)?.name ?? poolId);

/** Of images, pools and networks, as people call them; empty: none. */
export const nameIn =
  (tables: Pick<Tables, 'images' | 'pools' | 'networks'>) =>
  (id: ImageId | PoolId | NetworkId | undefined): string =>
    (id && (tables.images.get(id) ?? tables.pools.get(id) ?? tables.networks.get(id))?.name) ?? '';

/** Where its disks can not grow, as far as is known: `pool fast on h1`. */
export function fullPlace(
  { spec, hostId }: Pick<Vm, 'spec' | 'hostId'>,
  { tables, hosts }: { readonly tables: Pick<Tables, 'pools' | 'hosts'>; readonly hosts: Pick<Hosts, 'status'> },
): string {
  const status = hostId && hosts.status(hostId);
  const free = (poolId: PoolId | undefined): number =>
    poolId === undefined
      ? (status?.statistics?.diskFreeBytes ?? Infinity)
      : (status?.pools?.find((p) => p.poolId === poolId)?.availableBytes ?? Infinity);
  const [fullest] = [...new Set(spec.disks.map((d) => d.poolId))].sort((a, b) => free(a) - free(b));
  const host = hostId && tables.hosts.get(hostId)?.name;
  return `pool ${poolName(tables, fullest) || LOCAL_POOL}${host ? ` on ${host}` : ''}`;
}
