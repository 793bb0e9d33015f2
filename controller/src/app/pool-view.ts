/** How a pool is shown: its row, what its hosts say of it, and what was promised of it. Pure. */
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId, JobId } from '@berth/shared/model/ids.ts';
import { LOCAL_POOL, type Pool, type PoolSeen } from '@berth/shared/model/pool.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import { hostsOf, seenOn } from './pool-hosts.ts';
import { unitsOf, type UnitView } from './volume-units.ts';

export interface PoolOnHostView {
  readonly host: string;
  readonly state: string;
  readonly reason: string;
  readonly capacityBytes: number;
  readonly allocationBytes: number;
  readonly availableBytes: number;
  readonly targetPath: string;
}

export interface PoolView {
  readonly pool: Pool;
  /** Of those that were named. */
  readonly hosts: readonly string[];
  readonly onHosts: readonly PoolOnHostView[];
  readonly jobId: JobId | undefined;
  readonly diskCount: number;
  readonly promisedBytes: number;
  /** LUNs. */
  readonly units: readonly UnitView[];
}

export interface ForeignPoolView extends PoolSeen {
  readonly host: string;
}

export function viewPool(pool: Pool, tables: Tables, hosts: Pick<Hosts, 'status' | 'has'>): PoolView {
  const all = hostsOf(pool, tables);
  const local = pool.name === LOCAL_POOL;
  const vms = local ? [...tables.vms.values()] : tables.vms.byPool(pool.id);
  const disks = vms.flatMap((v) => v.spec.disks).filter((d) => (local ? d.poolId === undefined : d.poolId === pool.id));
  const alone = local
    ? [...tables.volumes.values()].filter((v) => v.poolId === undefined)
    : tables.volumes.byPool(pool.id);
  const localBytes = () => all.reduce((sum, h) => sum + tables.claims.sums(h.id).diskBytes, 0);
  return {
    pool,
    hosts: pool.hosts.ids.map((id) => tables.hosts.get(id)?.name ?? id),
    onHosts: all.map((h) => ({ host: h.name, ...(local ? localOn(h.id, hosts) : poolOn(pool, h.id, hosts)) })),
    jobId: tables.jobs.holders(`pool/${pool.id}`)[0]?.id,
    diskCount: disks.length + alone.length,
    promisedBytes: local ? localBytes() : tables.claims.poolBytes(pool.id),
    units: unitsOf(pool, { tables, hosts }),
  };
}

type OnHost = Omit<PoolOnHostView, 'host'>;
const NOTHING = { reason: '', capacityBytes: 0, allocationBytes: 0, availableBytes: 0, targetPath: '' } as const;

function poolOn(pool: Pool, hostId: HostId, hosts: Pick<Hosts, 'status'>): OnHost {
  const status = hosts.status(hostId);
  const reports = status.state === 'up' || status.state === 'maintenance';
  const seen = seenOn(status, pool.id);
  if (!seen) return { ...NOTHING, state: reports ? 'absent' : 'unknown' };
  const { reason, capacityBytes, allocationBytes, availableBytes, targetPath } = seen;
  const known = reports && status.complete.has('pools');
  return {
    ...{ state: known ? seen.state : 'unknown', reason },
    ...{ capacityBytes, allocationBytes, availableBytes, targetPath },
  };
}

function localOn(hostId: HostId, hosts: Pick<Hosts, 'status'>): OnHost {
  const { state, statistics, facts } = hosts.status(hostId);
  const reports = state === 'up' || state === 'maintenance';
  const capacityBytes = statistics?.diskBytes ?? facts?.diskBytes ?? 0;
  const availableBytes = statistics?.diskFreeBytes ?? facts?.diskFreeBytes ?? 0;
  const room = { capacityBytes, availableBytes, allocationBytes: capacityBytes - availableBytes };
  return { ...NOTHING, state: reports ? 'active' : 'unknown', ...room };
}

/** That Berth did not make, in the order of names. */
export function foreignOn(host: Host, hosts: Pick<Hosts, 'status'>): readonly ForeignPoolView[] {
  return (hosts.status(host.id).pools ?? [])
    .filter((p) => p.poolId === '')
    .map((p) => ({ ...p, host: host.name }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
