/** Pools as callers see them whose roles are bound to labels. */
import { expect, it } from 'vitest';
import { newId } from '@berth/shared/model/ids.ts';
import type { Grant } from '@berth/shared/model/access.ts';
import { Access } from '../app/access.ts';
import { ListPoolsResponse, type Pool as PoolOnWire } from '@berth/proto/v1/pool.ts';
import { PoolsApp } from '../app/pools.ts';
import { enrolledHost, memoryState, newHostId } from '../hosts/testing.ts';
import { aPool, aVm } from '../state/samples.ts';
import type { Call } from './call.ts';
import { poolHandlers } from './pool.ts';
import { Scope } from './scope.ts';

const asking = (selector: string): Call => {
  const grant: Grant = { role: 'viewer', cluster: '', selector };
  return { user: 'ann', access: new Access([grant]) } as unknown as Call;
};

it('show who has a unit to those who may see that, and to others that somebody has', async () => {
  const state = await memoryState();
  const vm = aVm({ name: 'db' });
  const disk = { target: 'vdb', volumeId: newId('volume', 1), sizeBytes: 1, imageId: undefined };
  await state.update((tx) => {
    const host = enrolledHost({ id: newHostId(), name: 'h1', address: 'h1:7444' });
    tx.hosts.put({ ...host, labels: { rack: 'r1' } });
    tx.vms.put({ ...vm, spec: { ...vm.spec, labels: { team: 'b' }, disks: [disk] } });
  });
  const unit = (name: string, volume: string) => ({ name, key: name, sizeBytes: 1, hosts: ['h1'], volume });
  const units = [unit('u1', 'db-vdb'), unit('u2', ''), unit('u3', 'volume-1 of h1')];
  const about = { pool: aPool({ name: 'san' }), hosts: [], onHosts: [], jobId: undefined, diskCount: 0 };
  const pools = { get: async () => ({ ...about, promisedBytes: 0, units }) } as unknown as PoolsApp;
  const handlers = poolHandlers(
    pools,
    state.tables,
    new Scope(state.tables, () => Promise.reject(new Error('no jobs'))),
  );
  const seen = async (selector: string) =>
    (await handlers.getPool({ pool: 'san' }, asking(selector))).units.map((u) => u.volume);
  expect(await seen('')).toEqual(['db-vdb', '', 'volume-1 of h1']);
  expect(await seen('rack=r1')).toEqual(['(taken)', '', '(taken)']);
});

it('on many hosts are told of where they are not active, within what an answer can hold, and counted', async () => {
  const state = await memoryState();
  const HOSTS = 700;
  const status = new Map<string, object>();
  await state.update((tx) => {
    for (let i = 0; i < HOSTS; i++) {
      const host = enrolledHost({ id: newHostId(), name: `h${String(i).padStart(3, '0')}`, address: `h${i}:7444` });
      tx.hosts.put({ ...host, labels: i < 10 ? { rack: 'r1' } : {} });
      const seen = { poolId: i === 650 ? 'other' : 'pool-1', uuid: '', name: 'fast', type: 'dir', targetPath: '/kvm' };
      const told = { ...seen, state: 'active', reason: '', capacityBytes: 9, allocationBytes: 1, availableBytes: 8 };
      status.set(host.id, {
        ...{ state: 'up', complete: new Set(['pools']), facts: { diskBytes: 9, diskFreeBytes: 8 } },
        pools: [told, { ...told, poolId: '', name: 'default' }],
      });
    }
    for (let i = 0; i < 130; i++) {
      const id = (i === 0 ? 'pool-1' : `pool-x${i}`) as ReturnType<typeof aPool>['id'];
      tx.pools.put({
        ...aPool({ name: `p${String(i).padStart(3, '0')}` }),
        id,
        hosts: { all: true, ids: [], selector: '' },
      });
    }
  });
  const hosts = { status: (id: string) => status.get(id), has: () => true };
  const app = new PoolsApp({ state, hosts } as unknown as ConstructorParameters<typeof PoolsApp>[0]);
  const handlers = poolHandlers(app, state.tables, new Scope(state.tables, () => Promise.reject(new Error('no jobs'))));
  const page = (pageToken = '', pageSize = 5_000) => ({ pageSize, pageToken });

  const one = (await handlers.getPool({ pool: 'p000' }, asking(''))) as PoolOnWire;
  expect([one.hostCount, one.activeCount, one.onHosts.length]).toEqual([700, 699, 500]);
  expect(one.onHosts.filter((h) => h.state !== 'active').map((h) => h.host)).toEqual(['h650']);
  expect(await handlers.getPool({ pool: 'p000' }, asking('rack=r1'))).toMatchObject({ hostCount: 10, activeCount: 10 });

  const first = (await handlers.listPools({ page: page(), foreign: false }, asking(''))) as ListPoolsResponse;
  expect(first.pools.length).toBe(101);
  expect(first.pools.every((p) => p.hostCount === 700 && p.onHosts.length === 49)).toBe(true);
  expect(first.pools.find((p) => p.name === 'p000')?.onHosts.some((h) => h.host === 'h650')).toBe(true);
  expect(ListPoolsResponse.encode(first).finish().length).toBeLessThan(500_000);
  const rest = await handlers.listPools({ page: page(first.nextPageToken), foreign: false }, asking(''));
  expect([rest.pools?.length, rest.nextPageToken]).toEqual([30, '']);

  const foreign = await handlers.listPools({ page: page('', 400), foreign: true }, asking(''));
  expect([foreign.pools, foreign.foreign?.length]).toEqual([[], 400]);
  const more = await handlers.listPools({ page: page(foreign.nextPageToken), foreign: true }, asking(''));
  expect([more.foreign?.length, more.foreign?.[0]?.host, more.nextPageToken]).toEqual([300, 'h400', '']);
});
