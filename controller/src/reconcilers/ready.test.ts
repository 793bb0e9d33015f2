import { expect, it } from 'vitest';
import type { HostId } from '@berth/shared/model/ids.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { newId } from '@berth/shared/model/ids.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { aHost, aNetwork, aPool } from '../state/samples.ts';
import { NetworkKeeper } from './networks.ts';
import { PoolKeeper } from './pools.ts';
import { lacks, readyHosts } from './ready.ts';

const byId = <T extends { readonly id: string }>(all: readonly T[]) => new Map(all.map((o) => [o.id, o]));
const hosts = byId(['h2', 'h1', 'h3', 'h4'].map((name, i) => aHost({ id: newId('host', i), name })));
const idOf = (name: string): HostId => [...hosts.values()].find((h) => h.name === name)!.id;

it('tells which hosts lack what, in the order of their names, but for those that nothing is to be told to', () => {
  const network = { id: 'network-1', generation: 2 };
  const has: Record<string, number> = { [idOf('h1')]: 1, [idOf('h2')]: 2 };
  const ready = readyHosts({ hosts, reviews: new Map([[idOf('h4'), {}]]) } as never, (id) =>
    id === idOf('h3') ? undefined : [{ id: network.id, generation: has[id] ?? 0 }],
  );
  expect(ready.map((r) => [r.host.name, lacks(r, network)])).toEqual([
    ['h1', true],
    ['h2', false],
  ]);
  expect(lacks(ready[1]!, { id: 'network-2', generation: 0 })).toBe(true);
});

it.each([
  ['networks', NetworkKeeper],
  ['pools', PoolKeeper],
])('looks at each host as often for many %s as for one', async (capability, Keeper) => {
  const asked = async (many: number): Promise<number> => {
    let times = 0;
    const status = () => {
      times++;
      return { state: 'up', facts: { capabilities: ['networks', 'pool'] }, complete: new Set([capability]) };
    };
    const named = Array.from({ length: many }, (_, i) => `n${i}`);
    const networks = byId(named.map((name, i) => aNetwork({ id: newId('network', i), name })));
    const pools = byId(named.map((name, i) => aPool({ id: newId('pool', i), name })));
    const tables = { hosts, networks, pools, reviews: new Map(), jobs: { holders: () => [] } };
    const state = { tables, update: async () => undefined };
    const deps = { state, hosts: { status }, jobs: {}, clock: new SimClock(), log: createLog('test', 'silent') };
    await new Keeper(deps as never).look();
    return times;
  };
  expect(await asked(50)).toBe(await asked(1));
});
