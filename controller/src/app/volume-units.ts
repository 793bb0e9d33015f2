/**
 * Units of pools (LUNs of iSCSI, Fibre Channel, multipath): which there are, who has them, and the volume that one becomes. A unit is
 * known by its key, on all hosts and through all pools: so no two VMs have it. Reads tables and reports; writes nothing.
 */
import { badState, ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Labels } from '@berth/shared/labels/selector.ts';
import { newId, type HostId, type PoolId } from '@berth/shared/model/ids.ts';
import { holdsUnits, type Pool, type PoolUnit } from '@berth/shared/model/pool.ts';
import { diskName, type Volume, type VolumeUnit } from '@berth/shared/model/volume.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import { resolve } from './names.ts';
import { hostsOf, seenOn } from './pool-hosts.ts';

export interface UnitView extends PoolUnit {
  /** Names of hosts that have it. */
  readonly hosts: readonly string[];
  /** What has it; empty: it is free. */
  readonly volume: string;
}

interface Seen {
  readonly tables: Tables;
  readonly hosts: Pick<Hosts, 'status' | 'has'>;
}

/** In the order of names. Of a pool that is not shared, every host has units of its own. */
export function unitsOf(pool: Pool, { tables, hosts }: Seen): readonly UnitView[] {
  if (!holdsUnits(pool.source.type)) return [];
  const found = new Map<string, PoolUnit & { readonly hosts: string[] }>();
  for (const host of hostsOf(pool, tables))
    for (const unit of seenOn(hosts.status(host.id), pool.id)?.units ?? []) {
      const id = JSON.stringify([unit.name, unit.key]);
      const known = found.get(id) ?? { ...unit, hosts: [] };
      known.hosts.push(host.name);
      found.set(id, known);
    }
  const all = [...found.values()].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  const holders = holdersOf({ tables, hosts });
  return all.map((u) => ({ ...u, volume: holders.get(u.key) ?? '' }));
}

/** Of all units that somebody has, by their keys: in the inventory, or on a host whose volumes the inventory does not know. */
function holdersOf({ tables, hosts }: Seen): ReadonlyMap<string, string> {
  const holders = new Map<string, string>();
  for (const { id, name } of tables.hosts.values())
    for (const [volumeId, { unitKey }] of hosts.has(id)?.volumes ?? [])
      if (unitKey !== undefined && !holders.has(unitKey)) holders.set(unitKey, `${volumeId} of ${name}`);
  for (const [key, name] of knownHolders(tables)) holders.set(key, name);
  return holders;
}

/** The same, of the inventory. */
export function knownHolders(tables: Pick<Tables, 'pools' | 'volumes' | 'vms'>): ReadonlyMap<string, string> {
  const holders = new Map<string, string>();
  for (const pool of tables.pools.values()) {
    if (!holdsUnits(pool.source.type)) continue;
    for (const vm of tables.vms.byPool(pool.id))
      for (const spec of [vm.spec, vm.live, vm.before?.spec, vm.before?.live])
        for (const { unit, target } of spec?.disks ?? []) if (unit) holders.set(unit.key, diskName(vm.name, target));
    for (const v of tables.volumes.byPool(pool.id)) if (v.unit) holders.set(v.unit.key, v.name);
  }
  return holders;
}

interface UnitRequest {
  readonly name: string;
  readonly pool: string;
  /** Its name in the pool. */
  readonly unit: string;
  /** Empty: any that has it. */
  readonly host: string;
  readonly image: string;
  readonly format: string;
  /** 0: that of the unit. */
  readonly sizeBytes: number;
  readonly labels: Labels;
}

/** The volume that it becomes. @throws NOT_FOUND, BAD_STATE, IN_USE, INVALID_ARGUMENT */
export function unitVolume(
  r: UnitRequest,
  seen: Seen,
  nowMs: number,
): { readonly volume: Volume; readonly hostId: HostId } {
  const { hostId, ...unit } = choose(r, seen);
  if (r.image !== '' || (r.sizeBytes !== 0 && r.sizeBytes !== unit.sizeBytes) || r.format === 'qcow2')
    throw invalidArgument(
      `volume ${r.name} is to be a unit of pool ${r.pool}: raw, as large as that is, with what is in it`,
    );
  const about = { id: newId('volume', nowMs), name: r.name, labels: r.labels, createdAtMs: nowMs };
  const made = { state: 'creating', hostId: undefined, format: 'raw', imageId: undefined } as const;
  return { volume: { ...about, ...made, ...unit }, hostId };
}

interface Chosen {
  readonly unit: VolumeUnit;
  readonly poolId: PoolId;
  readonly hostId: HostId;
  readonly sizeBytes: number;
}

function choose(r: Pick<UnitRequest, 'name' | 'pool' | 'unit' | 'host'>, seen: Seen): Chosen {
  const { tables, hosts } = seen;
  const pool = resolve('pool', tables.pools, r.pool);
  if (!holdsUnits(pool.source.type))
    throw invalidArgument(
      `volume ${r.name}: pool ${pool.name} is of type ${pool.source.type}, which has no units to give`,
    );
  if (pool.state !== 'ready') throw badState(`volume ${r.name}: pool ${pool.name} is ${pool.state}`);
  const only = r.host === '' ? undefined : resolve('host', tables.hosts, r.host).name;
  const named = unitsOf(pool, seen).filter((u) => u.name === r.unit);
  const there = named.filter((u) => only === undefined || u.hosts.includes(only));
  const [unit, other] = there;
  if (unit === undefined)
    throw notFound(
      `pool ${pool.name} has no unit ${r.unit.slice(0, 80)}${only ? ` on ${only}` : ''}. See: berth pool show ${pool.name}`,
    );
  if (other)
    throw invalidArgument(
      `unit ${unit.name} of pool ${pool.name} is another one on ${unit.hosts[0]} and on ${other.hosts[0]}: say which with --host`,
    );
  if (unit.volume !== '')
    throw new ClusterError('IN_USE', `unit ${unit.name} of pool ${pool.name} is volume ${unit.volume} already`);
  insistNothingOwed(unit, seen);
  const host = hostsOf(pool, tables).find((h) => (only ?? h.name) === h.name && isUp(pool, h.id, unit, hosts));
  if (host === undefined)
    throw badState(`volume ${r.name}: pool ${pool.name} is up on no host that has unit ${unit.name}`);
  needCapability(host, hosts.status(host.id).facts, 'volume.block');
  return { unit: { name: unit.name, key: unit.key }, poolId: pool.id, hostId: host.id, sizeBytes: unit.sizeBytes };
}

/** A host that has said nothing since the controller was started may have a guest of a VM that was forgotten, and a unit with it. */
function insistNothingOwed({ name }: PoolUnit, { tables, hosts }: Seen): void {
  const owing = [...tables.debts.values()].find((d) => d.kind === 'volume' && hosts.has(d.hostId) === undefined);
  if (owing === undefined) return;
  const host = tables.hosts.get(owing.hostId)?.name ?? owing.hostId;
  throw badState(
    `unit ${name} may be one that ${host} still has: it does not answer, and is to remove volumes when it is back. ` +
      `Try again then, or when it was removed from the cluster (berth host remove ${host})`,
  );
}

function isUp(pool: Pool, hostId: HostId, { key }: PoolUnit, hosts: Pick<Hosts, 'status'>): boolean {
  const status = hosts.status(hostId);
  const seen = status.complete.has('pools') ? seenOn(status, pool.id) : undefined;
  return status.state === 'up' && seen?.state === 'active' && seen.units?.some((u) => u.key === key) === true;
}
