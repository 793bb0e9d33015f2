/** What a document of a pool would change, and what it may not. */
import { expect, it } from 'vitest';
import { CreatePoolRequest, Pool } from '@berth/proto/v1/pool.ts';
import { notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from '../core/api.ts';
import { poolKind } from './pool-kind.ts';

const there = Pool.fromPartial({
  ...{ name: 'fast', state: 'ready', source: { type: 'dir', targetPath: '/kvm/vdisks' }, allHosts: true },
  ...{ warnPercent: 85, stopPercent: 95, overcommit: 1, autostart: true },
});
function world(pool: Pool | undefined) {
  const asked: unknown[] = [];
  const api = {
    pools: { getPool: 'get', createPool: 'create', updatePool: 'update' },
    call: async (client: Record<string, string>, method: (c: Record<string, string>) => string, q: unknown) => {
      const name = method(client);
      if (name === 'get' && pool) return pool;
      if (name === 'get') throw notFound('pool fast does not exist');
      asked.push([name, q]);
      return { jobId: name === 'create' ? 'job-1' : '' };
    },
  } as unknown as Api;
  return { api, asked };
}
const document = (spec: object) => poolKind.schema.parse({ kind: 'pool', name: 'fast', spec }) as never;

it('makes a pool that is not there', async () => {
  const { api, asked } = world(undefined);
  const plan = await poolKind.plan(api, document({ path: '/kvm/vdisks', allHosts: true, stopAt: 90 }));
  expect(plan).toMatchObject({ what: 'create', noun: 'pool' });
  expect(await plan.apply(api)).toEqual({ jobId: 'job-1', said: 'created' });
  const wanted = { ...{ name: 'fast', allHosts: true, autostart: true, stopPercent: 90 }, source: there.source };
  expect(asked).toEqual([['create', CreatePoolRequest.fromPartial(wanted as never)]]);
});

it('changes settings, and nothing when all is so already', async () => {
  const { api, asked } = world(there);
  const same = await poolKind.plan(api, document({ path: '/kvm/vdisks', allHosts: true, warnAt: 85 }));
  expect(same.what).toBe('nothing');
  const plan = await poolKind.plan(api, document({ path: '/kvm/vdisks', allHosts: true, overcommit: 2 }));
  expect(plan.changes).toEqual([{ field: 'overcommit', before: '1', after: '2' }]);
  await plan.apply(api);
  expect(asked).toEqual([['update', expect.objectContaining({ pool: 'fast', overcommit: 2 })]]);
});

it.each([{ path: '/kvm/other' }, { shared: true }, { allHosts: false }, { type: 'netfs' }])(
  'refuses to move it: %j',
  async (over) => {
    const { api } = world(there);
    const moved = { path: '/kvm/vdisks', allHosts: true, ...over };
    await expect(poolKind.plan(api, document(moved))).rejects.toThrow('another than it was made with, and stays');
  },
);
