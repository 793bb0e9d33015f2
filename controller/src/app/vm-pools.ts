/** The pools of a VM's disks: by name, and what there is to know before a disk is put into one. Reads tables; writes nothing. */
import { badState, unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { ImageId, PoolId } from '@berth/shared/model/ids.ts';
import { LOCAL_POOL, takesDisks } from '@berth/shared/model/pool.ts';
import type { Tables } from '../state/state.ts';
import { resolve } from './names.ts';

type Pools = Pick<Tables, 'pools'>;

/** @param at begins a refusal: `disks.0`. @throws NOT_FOUND, BAD_STATE, UNSUPPORTED */
export function diskPool(tables: Pools, name: string | undefined, at: string): { readonly poolId?: PoolId } {
  if (name === undefined || name === '' || name === LOCAL_POOL) return {};
  const pool = resolve('pool', tables.pools, name);
  if (!takesDisks(pool.source.type))
    throw unsupported(`${at}.pool ${pool.name} is of type ${pool.source.type}: Berth makes disks in dir, fs and netfs`);
  if (pool.state !== 'ready') throw badState(`${at}.pool ${pool.name} is ${pool.state}`);
  if (!pool.started) throw badState(`${at}.pool ${pool.name} is stopped: berth pool start ${pool.name}`);
  return { poolId: pool.id };
}

/** As people call it; empty: local. */
export const poolName = (tables: Pools, poolId: PoolId | undefined): string =>
  poolId === undefined ? '' : (tables.pools.get(poolId)?.name ?? poolId);

/** Of images and pools, as people call them; empty: none. */
export const nameIn =
  (tables: Pick<Tables, 'images' | 'pools'>) =>
  (id: ImageId | PoolId | undefined): string =>
    id === undefined ? '' : (tables.images.get(id)?.name ?? tables.pools.get(id)?.name ?? '');
