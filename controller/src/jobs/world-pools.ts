/** The scheduler's picture of storage pools, and what a VM asks of them. Decides nothing. */
import type { HostId, PoolId } from '@berth/shared/model/ids.ts';
import { holdsBlocks, holdsUnits, LOCAL_POOL, POOL_DEFAULTS, type PoolSeen } from '@berth/shared/model/pool.ts';
import type { VmDisk } from '@berth/shared/model/vm.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Policy, PoolRequest, WorldPool } from '../scheduler/world.ts';
import type { Tables } from '../state/state.ts';

/** What disks in pools that hosts share hold on all of them: added up once for each picture, however many hosts ask. */
export class SharedPools {
  readonly #held = new Map<string, number>();

  constructor(
    private readonly tables: Tables,
    private readonly hosts: Pick<Hosts, 'status'>,
  ) {}

  /** For a new picture. */
  forget(): void {
    this.#held.clear();
  }

  held(poolId: string): number {
    const held = this.#held.get(poolId) ?? heldOnAll(poolId, this.tables, this.hosts);
    this.#held.set(poolId, held);
    return held;
  }
}

/** Those that Berth made. Sums are looked up when a placement asks for them: they change with every claim. */
export function worldPools(
  hostId: HostId,
  tables: Tables,
  hosts: Pick<Hosts, 'status'>,
  shared: Pick<SharedPools, 'held'>,
): ReadonlyMap<string, WorldPool> {
  const pools = new Map<string, WorldPool>();
  const status = hosts.status(hostId);
  for (const seen of status.pools ?? []) {
    const row = tables.pools.get(seen.poolId);
    if (row === undefined) continue;
    pools.set(row.id, {
      name: row.name,
      state: stateOf(seen, row.state, status.complete.has('pools')),
      ...{ capacityBytes: seen.capacityBytes, availableBytes: seen.availableBytes },
      ...{ stopPercent: row.stopPercent, overcommit: row.overcommit, fixed: holdsUnits(row.source.type) },
      held: row.shared ? () => shared.held(row.id) : () => seen.volumesAllocatedBytes,
      promised: row.shared
        ? () => tables.claims.poolBytes(row.id)
        : () => tables.claims.sums(hostId).poolBytes.get(row.id) ?? 0,
    });
  }
  return pools;
}

function stateOf(seen: PoolSeen, row: string, known: boolean): string {
  if (row !== 'ready') return row;
  if (!known) return 'unknown';
  return seen.reason === '' ? seen.state : `${seen.state}: ${seen.reason.split('\n')[0]}`;
}

function heldOnAll(poolId: string, tables: Tables, hosts: Pick<Hosts, 'status'>): number {
  let sum = 0;
  for (const { id } of tables.hosts.values())
    sum += hosts.status(id).pools?.find((p) => p.poolId === poolId)?.volumesAllocatedBytes ?? 0;
  return sum;
}

/** The settings of pool `local`, once somebody has set them, go before those of the cluster. */
export function withLocalPool(policy: Policy, tables: Pick<Tables, 'pools'>): Policy {
  const row = tables.pools.byName(LOCAL_POOL);
  const { stopPercent } = row ?? POOL_DEFAULTS;
  return { ...policy, ...(row && { diskOvercommit: row.overcommit }), diskStopShare: stopPercent / 100 };
}

/** It holds raw disks and no files, so nothing in it is an overlay. */
export function isOfBlocks({ pools }: Pick<Tables, 'pools'>, poolId: PoolId | undefined): boolean {
  const pool = poolId === undefined ? undefined : pools.get(poolId);
  return pool !== undefined && (holdsBlocks(pool.source.type) || holdsUnits(pool.source.type));
}

/** What a host must be able to do for a file, or an image, to be made of a volume that no guest uses; undefined: it lies in pool local. */
export function readsPool(
  tables: Pick<Tables, 'pools'>,
  poolId: PoolId | undefined,
): 'volume.block-io' | 'volume.full' | undefined {
  if (poolId === undefined) return undefined;
  return isOfBlocks(tables, poolId) ? 'volume.block-io' : 'volume.full';
}

type Disks = { readonly disks: readonly Pick<VmDisk, 'poolId' | 'sizeBytes'>[] };

/** What the disks of a spec may grow to in pools other than local, for its claim. */
export function poolBytes({ disks }: Disks): { readonly poolBytes?: Readonly<Record<string, number>> } {
  const sums: Record<string, number> = {};
  for (const { poolId, sizeBytes } of disks) if (poolId !== undefined) sums[poolId] = (sums[poolId] ?? 0) + sizeBytes;
  return Object.keys(sums).length === 0 ? {} : { poolBytes: sums };
}

export const poolRequests = (spec: Disks, tables: Pick<Tables, 'pools'>): readonly PoolRequest[] =>
  Object.entries(poolBytes(spec).poolBytes ?? {}).map(([poolId, bytes]) => {
    const row = tables.pools.get(poolId);
    return { poolId, bytes, name: row?.name ?? poolId, shared: row?.shared === true };
  });
