/** Disks in pools that hold no files: clones there are copies, whatever is said; what can not be is refused before anything starts. */
import { beforeEach, expect, it } from 'vitest';
import type { PoolSource } from '@berth/shared/model/pool.ts';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import type { CreatePool } from './pools.ts';

let c: AppCluster;
beforeEach(async () => {
  c = await AppCluster.make();
  await c.import('base');
  for (const h of c.sim.hosts.all()) h.capabilities = ['clone.full', 'clone.instant', 'image.hashes', 'pool.block'];
});
const nothing: PoolSource = {
  ...{ type: 'rbd', targetPath: '', hosts: [], path: '', name: '', devices: [] },
  ...{ format: '', initiator: '', adapter: '', authUser: '' },
};
const CEPH: PoolSource = { ...nothing, hosts: ['mon1'], name: 'vms', authUser: 'berth' };
const LVM: PoolSource = { ...nothing, type: 'logical', name: 'vg0' };
const KEY = Buffer.from('AQCQGAJrL4U4JRAALlw+PV9VuybX97aArJS8WQ==').toString('base64');
const create = async (over: Partial<CreatePool>): Promise<string> => {
  const wanted = { name: 'ceph', source: CEPH, shared: true, allHosts: true, hosts: [], selector: '', secret: KEY };
  return c.ended((await c.timed(c.life.pools.create({ ...wanted, ...over }, 'test'))).jobId);
};
const diskOf = async (name: string) => (await c.timed(c.life.vms.get(name))).vm.spec.disks[0];

it('makes clones as raw copies of their image, which the host gets whole, and no copy of it in the pool', async () => {
  await create({});
  expect(await c.done(c.clone('web', { pool: 'ceph', host: 'h2' }))).toBe('succeeded');
  expect(await diskOf('web')).toMatchObject({ imageId: undefined, options: { format: 'raw' } });
  const view = await c.timed(c.life.vms.get('web'));
  expect([view.vm.spec.seedVolumeId !== undefined, view.copyNames]).toEqual([true, ['base']]);
  const kinds = [...c.life.state.tables.jobs.values()].map((j) => j.kind);
  expect([kinds.includes('image.fetch'), kinds.includes('pool.image')]).toEqual([true, false]);
});

it('wipes a disk there, and neither converts nor moves it', async () => {
  await create({});
  await c.done(c.clone('web', { pool: 'ceph', host: 'h1' }));
  const wiped = await c.timed(c.life.volumes.wipe('web-vda', 'test'));
  expect(await c.ended(wiped.jobId!)).toBe('succeeded');
  await expect(c.timed(c.life.volumes.convert('web-vda', 'qcow2', 'test'))).rejects.toThrow('lies in a pool');
});

it.each(['linked', 'instant'])('refuses %s clones there, in words', async (kind) => {
  await create({});
  await expect(c.timed(c.clone('web', { pool: 'ceph', kind }))).rejects.toThrow(
    `disk vda cannot be ${kind}: pool ceph holds no overlays, clones there are full`,
  );
});

it('refuses guests that are to be changed on their disks there, and qcow2', async () => {
  await create({});
  await expect(c.timed(c.clone('web', { pool: 'ceph', identity: 'offline' }))).rejects.toMatchObject({
    reason: 'UNSUPPORTED',
  });
  const definition = { disks: [{ sizeBytes: 2 ** 30, format: 'qcow2', pool: 'ceph' }] } as const;
  await expect(c.timed(c.clone('web', { definition }))).rejects.toThrow(
    'pool ceph holds no files: disks there are raw',
  );
});

it('refuses a volume group that hosts would share, and what is no key of Ceph', async () => {
  await expect(create({ source: LVM, secret: '' })).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
  await expect(create({ secret: Buffer.from('hush!').toString('base64') })).rejects.toThrow('is no key of Ceph');
});

it('names hosts whose agents are too old for disks there', async () => {
  await create({});
  for (const h of c.sim.hosts.all()) h.capabilities = h.name === 'h1' ? ['clone.full', 'pool.block'] : ['clone.full'];
  await expect(c.timed(c.clone('web', { pool: 'ceph', host: 'h2' }))).rejects.toThrow(
    'vm web cannot run on h2: lacks pool.block',
  );
  expect(await c.done(c.clone('db', { pool: 'ceph' }))).toBe('succeeded');
  expect((await c.timed(c.life.vms.get('db'))).vm.hostId).toBe(c.hostId('h1'));
});
