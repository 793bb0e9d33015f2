/** Pools as callers see them whose roles are bound to labels. */
import { expect, it } from 'vitest';
import { newId } from '@berth/shared/model/ids.ts';
import type { Grant } from '@berth/shared/model/access.ts';
import { Access } from '../app/access.ts';
import type { PoolsApp } from '../app/pools.ts';
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
