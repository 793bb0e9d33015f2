/** PoolService: storage pools. Decides nothing. */
import {
  PoolSource,
  type CreatePoolRequest,
  type ForeignPool,
  type Pool as PoolOnWire,
  type PoolServiceService,
} from '@berth/proto/v1/pool.ts';
import type { PoolType } from '@berth/shared/model/pool.ts';
import type { PoolJob, PoolsApp } from '../app/pools.ts';
import type { ForeignPoolView, PoolView } from '../app/pool-view.ts';
import type { Tables } from '../state/state.ts';
import type { Call, Handlers } from './call.ts';
import { toWire } from './numbers.ts';
import { toQuery } from './page.ts';
import type { Scope } from './scope.ts';

/** Hosts of one pool in an answer, of all pools of a list together, and of one unit. */
const MOST_TOLD = 500;
const MOST_IN_LIST = 5_000;
const MOST_OF_UNIT = 16;

/** By what the caller may not see. */
const TAKEN = '(taken)';

export const poolHandlers = (pools: PoolsApp, tables: Tables, scope: Scope): Handlers<PoolServiceService> => {
  const sees = (call: Call, name: string): boolean => {
    const host = tables.hosts.byName(name);
    return host !== undefined && scope.seesHost(call, host);
  };
  /** That a unit is taken everybody may know. */
  const heldBy = (call: Call, volume: string): string =>
    volume === '' || scope.seesVolumeNamed(call, volume) ? volume : TAKEN;
  /** Of its hosts, those that the caller may see. */
  const seenBy = (call: Call, v: PoolView): PoolView => ({
    ...v,
    hosts: v.hosts.filter((h) => sees(call, h)),
    onHosts: v.onHosts.filter((h) => sees(call, h.host)),
    units: v.units
      .map((u) => ({ ...u, hosts: u.hosts.filter((h) => sees(call, h)), volume: heldBy(call, u.volume) }))
      .filter((u) => u.hosts.length > 0),
  });
  return {
    createPool: async (r, call) => {
      const source = PoolSource.fromPartial(r.source ?? {});
      const { name, shared, allHosts, hosts, selector, autostart } = r;
      const secret = Buffer.from(r.secret, 'utf8').toString('base64');
      const wanted = { name, shared, allHosts, hosts, selector, autostart, secret, ...settingsOf(r) };
      return toJob(await pools.create({ ...wanted, source: { ...source, type: source.type as PoolType } }, call.user));
    },
    getPool: async (r, call) => toPool(seenBy(call, await pools.get(r.pool))),
    listPools: async (r, call) => {
      if (r.foreign) {
        const { items, nextPageToken } = pools.foreign(toQuery(r.page), (h) => scope.seesHost(call, h));
        return { pools: [], nextPageToken, foreign: items.map(encodeForeign) };
      }
      const { items, nextPageToken } = await pools.list(toQuery(r.page));
      const most = Math.min(MOST_TOLD, Math.floor(MOST_IN_LIST / items.length));
      return { pools: items.map((p) => toPool(seenBy(call, p), most)), nextPageToken, foreign: [] };
    },
    updatePool: async (r) => toPool(await pools.update(r.pool, r)),
    startPool: async (r, call) => toJob(await pools.start(r.pool, call.user)),
    stopPool: async (r, call) => toJob(await pools.stop(r.pool, call.user)),
    refreshPool: async (r, call) => toJob(await pools.refresh(r.pool, call.user)),
    deletePool: async (r, call) => toJob(await pools.delete(r.pool, call.user)),
  };
};

/** 0 is the usual. */
const settingsOf = (r: CreatePoolRequest) => ({
  warnPercent: r.warnPercent || undefined,
  stopPercent: r.stopPercent || undefined,
  overcommit: r.overcommit || undefined,
});

const toJob = ({ view, jobId }: PoolJob) => ({ pool: toPool(view), jobId });

const encodeForeign = (f: ForeignPoolView): ForeignPool => ({
  ...{ host: f.host, name: f.name, uuid: f.uuid, type: f.type, state: f.state, targetPath: f.targetPath },
  ...{ capacityBytes: toWire(f.capacityBytes), availableBytes: toWire(f.availableBytes) },
});

/** Of too many hosts, those where all is well are left out first; but where it is active anywhere, one of these is told. */
function some(all: PoolView['onHosts'], most: number): PoolView['onHosts'] {
  if (all.length <= most) return all;
  const is = (h: { readonly state: string }): boolean => h.state === 'active';
  const [first, ...active] = all.filter(is);
  const told = new Set([...(first ? [first] : []), ...all.filter((h) => !is(h)), ...active].slice(0, most));
  return all.filter((h) => told.has(h));
}

/** @param most hosts that it may name. */
function toPool(v: PoolView, most = MOST_TOLD): PoolOnWire {
  const { pool } = v;
  const { source: s } = pool;
  return {
    ...{ id: pool.id, name: pool.name, state: pool.state, shared: pool.shared, hosts: v.hosts.slice(0, most) },
    ...{ hostCount: v.onHosts.length, activeCount: v.onHosts.filter((h) => h.state === 'active').length },
    source: { ...s, hosts: [...s.hosts], devices: [...s.devices] },
    ...{ allHosts: pool.hosts.all, selector: pool.hosts.selector, started: pool.started, autostart: pool.autostart },
    ...{ warnPercent: pool.warnPercent, stopPercent: pool.stopPercent, overcommit: pool.overcommit },
    createdAtMs: toWire(pool.createdAtMs),
    onHosts: some(v.onHosts, most).map((h) => ({
      ...h,
      capacityBytes: toWire(h.capacityBytes),
      allocationBytes: toWire(h.allocationBytes),
      availableBytes: toWire(h.availableBytes),
    })),
    ...{ jobId: v.jobId ?? '', diskCount: v.diskCount, promisedBytes: toWire(v.promisedBytes) },
    units: v.units.map((u) => ({
      ...{ name: u.name, key: u.key, volume: u.volume, sizeBytes: toWire(u.sizeBytes) },
      ...{ hosts: u.hosts.slice(0, MOST_OF_UNIT), hostCount: u.hosts.length },
    })),
  };
}
