/** Disks in pools that hold no files: clones there are copies, whatever is said; what can not be is refused before anything starts. */
import { beforeEach, expect, it } from 'vitest';
import type { JobId } from '@berth/shared/model/ids.ts';
import type { PoolSource } from '@berth/shared/model/pool.ts';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import { volumeUploadId } from '../jobs/volume-upload.ts';
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
const blank = {
  format: '',
  image: '',
  preallocation: '',
  clusterBytes: 0,
  lazyRefcounts: false,
  labels: {},
  host: 'h1',
  sizeBytes: 2 ** 30,
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

it('has volumes that stand alone there: raw and blank, for a VM on their host', async () => {
  await create({});
  for (const h of c.sim.hosts.all()) h.capabilities = [...h.capabilities, 'volume.block'];
  const usual = { format: '', preallocation: '', clusterBytes: 0, lazyRefcounts: false, labels: {}, host: 'h1' };
  const make = (name: string, image = '') =>
    c.timed(c.life.volumes.create({ ...usual, name, image, sizeBytes: 2 ** 30, pool: 'ceph' }, 'test'));
  expect(await c.ended((await make('data')).jobId!)).toBe('succeeded');
  expect(await c.timed(c.life.volumes.get('data'))).toMatchObject({ format: 'raw', pool: 'ceph', backing: [] });
  await c.done(c.clone('web', { host: 'h1' }));
  const attached = await c.timed(c.life.volumes.attach('data', { vm: 'web', bus: '', target: '' }, 'test'));
  expect(await c.ended(attached.jobId!)).toBe('succeeded');
  await expect(make('copy', 'base')).rejects.toThrow('what stands alone there is raw and blank');
  for (const h of c.sim.hosts.all()) h.capabilities = ['pool.block'];
  await expect(make('more')).rejects.toThrow('it lacks volume.block');
});

it('takes in a disk of a VM that is off as a raw copy, and gives it back as one', async () => {
  await create({});
  for (const h of c.sim.hosts.all()) h.capabilities = [...h.capabilities, 'volume.block', 'volume.move'];
  await c.done(c.clone('web', { host: 'h1' }));
  const move = async (pool: string) =>
    c.ended((await c.timed(c.life.volumes.move('web-vda', { pool, host: '' }, 'test'))).jobId!);
  expect((await diskOf('web'))?.imageId).toBeDefined();
  expect(await move('ceph')).toBe('succeeded');
  const there = { imageId: undefined, options: { format: 'raw' } };
  expect(await diskOf('web')).toMatchObject({ ...there, poolId: c.life.state.tables.pools.byName('ceph')!.id });
  expect(await move('local')).toBe('succeeded');
  const back = await diskOf('web');
  expect([back?.poolId, back?.options, back?.imageId]).toEqual([undefined, { format: 'raw' }, undefined]);
});

it('moves a disk between any two pools of its host, of a VM that runs too; and says what an older agent cannot', async () => {
  await create({});
  const can = (...more: string[]) => {
    for (const h of c.sim.hosts.all()) h.capabilities = [...h.capabilities, ...more];
  };
  can('volume.block', 'volume.move', 'volume.transfer');
  await create({ name: 'dir', source: { ...nothing, type: 'dir', targetPath: '/kvm/a' }, secret: '', shared: false });
  await c.done(c.clone('web', { host: 'h1', pool: 'dir' }));
  const move = (name: string, pool: string, host = '') => c.timed(c.life.volumes.move(name, { pool, host }, 'test'));
  await expect(move('web-vda', 'ceph')).rejects.toThrow('or past pool local (it lacks volume.block-move)');
  await c.done(c.clone('db', { host: 'h1', start: true }));
  for (let n = 0; (await c.timed(c.life.vms.get('db'))).state !== 'running' && n < 100; n++)
    await c.sim.clock.advance(1_000);
  await expect(move('db-vda', 'ceph')).rejects.toThrow('move disks of vms that run');
  can('volume.block-move');
  for (const name of ['web', 'db']) {
    expect(await c.ended((await move(`${name}-vda`, 'ceph')).jobId!)).toBe('succeeded');
    expect(await diskOf(name)).toMatchObject({ imageId: undefined, options: { format: 'raw' } });
  }
  expect(await c.ended((await move('web-vda', 'dir')).jobId!)).toBe('succeeded');
  expect(await diskOf('web')).toMatchObject({
    poolId: c.life.state.tables.pools.byName('dir')!.id,
    options: { format: 'raw' },
  });
  await c.ended((await c.timed(c.life.volumes.create({ ...blank, name: 'data', pool: 'ceph' }, 'test'))).jobId!);
  await expect(move('data', 'local', 'h2')).rejects.toThrow('the way to another host is by pool local of its host');
});

const IO = [
  'clone.full',
  'volume.block',
  'volume.block-io',
  'volume.data',
  'volume.move',
  'volume.upload',
  'volume.export',
  'volume.rewrite',
];
const able = (without = ''): void => {
  for (const h of c.sim.hosts.all()) h.capabilities = ['pool.block', ...IO].filter((name) => name !== without);
};
const file = { fileBytes: 512, allocatedBytes: 512, format: '', sizeBytes: 2 ** 30 };
const upload = (name: string, over: object = {}) =>
  c.timed(
    c.life.volumeUploads.begin({ name, file, format: '', host: 'h1', pool: 'ceph', labels: {}, ...over }, 'test'),
  );
const arrives = async (jobId: JobId): Promise<string> => {
  c.sim.hosts.host(c.hostId('h1')).uploads.set(volumeUploadId(jobId), 'sent');
  return c.ended(jobId);
};

it('takes in a file there as a raw volume, and another in its place', async () => {
  await create({});
  able();
  expect(await arrives((await upload('data')).jobId)).toBe('succeeded');
  const { id } = await c.timed(c.life.volumes.get('data'));
  expect(await c.timed(c.life.volumes.get('data'))).toMatchObject({ format: 'raw', pool: 'ceph', hostName: 'h1' });
  const put = (format: string) => c.timed(c.life.volumeUploads.replace('data', { file, format }, 'test'));
  await expect(put('qcow2')).rejects.toThrow('volume data cannot be qcow2: pool ceph holds no files');
  expect(await arrives((await put('raw')).jobId)).toBe('succeeded');
  const after = await c.timed(c.life.volumes.get('data'));
  expect([after.id === id, after.name, after.format, after.pool]).toEqual([false, 'data', 'raw', 'ceph']);
  expect(c.sim.hosts.host(c.hostId('h1')).volumes.has(id)).toBe(false);
});

it('refuses files there that are to be qcow2, or have no room, and puts none in the place of a LUN', async () => {
  await create({});
  able();
  await expect(upload('data', { format: 'qcow2' })).rejects.toThrow('what lies there is raw. Leave the format out');
  await expect(upload('data', { file: { ...file, sizeBytes: 60 * 2 ** 40 } })).rejects.toMatchObject({
    reason: 'NO_CAPACITY',
  });
  const unit = { name: 'unit:0:0:1', key: '36001', sizeBytes: 2 ** 30 };
  for (const h of c.sim.hosts.all()) h.units.push(unit);
  const san = { ...nothing, type: 'iscsi' as const, hosts: ['s1'], path: 'iqn.2020-01.org.example:t1' };
  await create({ name: 'san', source: { ...san, targetPath: '/dev/disk/by-path' }, secret: '' });
  await expect(upload('data', { pool: 'san' })).rejects.toThrow('volume data: pool san is of type iscsi');
  const usual = { format: '', preallocation: '', clusterBytes: 0, lazyRefcounts: false, labels: {}, host: 'h1' };
  const lun = { name: 'lun', pool: 'san', unit: unit.name, image: '', sizeBytes: 0, ...usual };
  await c.ended((await c.timed(c.life.volumes.create(lun, 'test'))).jobId);
  const put = c.timed(c.life.volumeUploads.replace('lun', { file, format: '' }, 'test'));
  await expect(put).rejects.toThrow(
    'volume lun is unit:0:0:1 of pool san, and nothing can be put in the place of that',
  );
  const download = await c.timed(c.life.exports.volume('lun', 'qcow2', 'test'));
  expect(download.ticket).toMatch(/./);
});

it('goes on with a file only as it was begun', async () => {
  await create({});
  able();
  const { jobId } = await upload('data');
  for (const same of [{}, { pool: '', host: '' }, { format: 'raw' }])
    expect(await upload('data', same)).toMatchObject({ jobId, resumed: true });
  for (const other of [{ host: 'h2' }, { format: 'qcow2' }, { file: { ...file, fileBytes: 1_024 } }])
    await expect(upload('data', other)).rejects.toThrow('another file is being uploaded to it, or in another way');
});

it('takes in no file there on a host that is too old for it', async () => {
  await create({});
  able('volume.block-io');
  await expect(upload('data')).rejects.toThrow('lacks volume.block-io');
});

it('gives out a file of a volume there, of a VM only while that is off, and says what its host lacks', async () => {
  await create({});
  able();
  await c.done(c.clone('web', { pool: 'ceph', host: 'h1' }));
  const begin = () => c.timed(c.life.exports.volume('web-vda', 'qcow2', 'test'));
  const t = { ...(await begin()), user: 'test' };
  expect(await c.timed(c.life.exports.open(t, new AbortController().signal))).toMatchObject({ sha256: 'sum' });
  c.life.exports.finish(t);
  expect(await c.ended(t.jobId)).toBe('succeeded');
  able('volume.block-io');
  await expect(begin()).rejects.toThrow('(it lacks volume.block-io)');
});

it('gives out a file of a volume in a pool of files, where its host can read that', async () => {
  await create({ name: 'dir', source: { ...nothing, type: 'dir', targetPath: '/kvm/a' }, secret: '', shared: false });
  able();
  await c.done(c.clone('web', { pool: 'dir', host: 'h1' }));
  const begin = () => c.timed(c.life.exports.volume('web-vda', 'qcow2', 'test'));
  await expect(begin()).rejects.toThrow('(it lacks volume.full)');
  for (const h of c.sim.hosts.all()) h.capabilities = [...h.capabilities, 'volume.full'];
  expect((await begin()).ticket).toMatch(/./);
});

it('has its disks captured also while their VM is off', async () => {
  await create({});
  able();
  for (const h of c.sim.hosts.all()) h.capabilities = [...h.capabilities, 'image.capture'];
  await c.done(c.clone('web', { pool: 'ceph', host: 'h1' }));
  const capture = () => c.timed(c.life.captures.capture({ vm: 'web', name: 'copy', disks: [], hidden: false }, 'test'));
  expect(await c.ended((await capture()).jobId)).toBe('succeeded');
  able('volume.block-io');
  for (const h of c.sim.hosts.all()) h.capabilities = [...h.capabilities, 'image.capture'];
  await expect(capture()).rejects.toThrow('(it lacks volume.block-io)');
});

it('wipes a disk there, and does not convert it', async () => {
  await create({});
  await c.done(c.clone('web', { pool: 'ceph', host: 'h1' }));
  const wiped = await c.timed(c.life.volumes.wipe('web-vda', 'test'));
  expect(await c.ended(wiped.jobId!)).toBe('succeeded');
  await expect(c.timed(c.life.volumes.convert('web-vda', 'qcow2', 'test'))).rejects.toThrow(
    'volume web-vda lies in pool ceph, where disks are raw and nothing else. Take it as a file (berth volume download web-vda ' +
      'web-vda.qcow2), or move it to pool local (berth volume move web-vda --pool local) and convert it there',
  );
  expect((await c.timed(c.life.volumes.convert('web-vda', 'raw', 'test'))).jobId).toBeUndefined();
  await expect(c.timed(c.life.volumes.sparsify('web-vda', 'test'))).rejects.toThrow(
    'lies in pool ceph, which holds no files',
  );
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

it('refuses to change a guest on a disk there from outside, though another disk of it is a file', async () => {
  await create({});
  for (const h of c.sim.hosts.all()) h.capabilities = [...h.capabilities, 'volume.customize'];
  const definition = { disks: [{ image: 'base', pool: 'ceph' }, { image: 'base' }] };
  expect(await c.done(c.clone('web', { definition, host: 'h1' }))).toBe('succeeded');
  const about = { hostname: 'web', address: '', gateway: '', dns: [], sshKeys: [], sshUser: '', firstBoot: '' };
  const asked = { ...about, serialLogin: false, newMachineId: false, newHostKeys: false, generalize: false };
  await expect(c.timed(c.life.vms.customize('web', asked, 'test'))).rejects.toThrow(
    'is on disk vda, in pool ceph, which holds no files',
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
