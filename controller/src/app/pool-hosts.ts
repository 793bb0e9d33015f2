/** Which hosts have a pool, and what they say of it. Reads tables and reports; writes nothing. */
import { parseSelector } from '@berth/shared/labels/selector.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId, PoolId } from '@berth/shared/model/ids.ts';
import { LOCAL_POOL, POOL_DEFAULTS, type Pool, type PoolSeen } from '@berth/shared/model/pool.ts';
import type { Hosts, HostStatus } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';

/** In the order of their names. */
export function hostsOf({ hosts }: Pick<Pool, 'hosts'>, tables: Pick<Tables, 'hosts'>): readonly Host[] {
  const is = chosen(hosts);
  return [...tables.hosts.values()].filter(is).sort((a, b) => (a.name < b.name ? -1 : 1));
}

type Chosen = Pick<Host, 'id' | 'labels'>;

/** For many hosts: what was chosen is read once. */
export function chosen({ all, ids, selector }: Pool['hosts']): (host: Chosen) => boolean {
  const fits = selector === '' ? () => false : parseSelector(selector);
  return (h) => all || ids.includes(h.id) || fits(h.labels);
}

export const isOneOf = ({ hosts }: Pick<Pool, 'hosts'>, host: Chosen): boolean => chosen(hosts)(host);

/** It reports, its libvirt answers, and its agent knows pools. */
export function takesPools(hosts: Pick<Hosts, 'status'>, hostId: HostId): boolean {
  const { state, complete, facts } = hosts.status(hostId);
  const up = state === 'up' || state === 'maintenance';
  return up && complete.has('pools') && facts?.capabilities.includes('pool') === true;
}

export const seenOn = (status: Pick<HostStatus, 'pools'>, poolId: PoolId): PoolSeen | undefined =>
  status.pools?.find((p) => p.poolId === poolId);

/** Every host has it; the settings stand in a row from the first time that somebody changes them. */
export const localPool = (tables: Pick<Tables, 'pools'>): Pool => tables.pools.byName(LOCAL_POOL) ?? LOCAL;

const LOCAL: Pool = {
  id: 'pool-local' as PoolId,
  name: LOCAL_POOL,
  state: 'ready',
  source: {
    ...{ type: 'dir', targetPath: '', hosts: [], path: '', name: '', devices: [] },
    ...{ format: '', initiator: '', adapter: '', authUser: '' },
  },
  shared: false,
  hosts: { all: true, ids: [], selector: '' },
  ...{ started: true, autostart: true, marked: false, generation: 0, createdAtMs: 0 },
  ...POOL_DEFAULTS,
};
