import { beforeEach, describe, expect, it } from 'vitest';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import type { CaptureVm } from './captures.ts';

let c: AppCluster;
const capture = (over: Partial<CaptureVm> = {}) =>
  c.timed(c.life.captures.capture({ vm: 'web', name: '', disks: [], hidden: false, ...over }, 'test'));
const said = async (answer: Promise<unknown>): Promise<string> => {
  const e = (await c.timed(answer).catch((x: unknown) => x)) as { reason?: string; message?: string };
  return `${e.reason}: ${e.message}`;
};
const start = () => c.done(c.life.vms.start('web', 'test'));
const steps = async (jobId: Parameters<AppCluster['ended']>[0]) => (await c.life.jobs.view(jobId!)).steps;
const TWO_DISKS = { disks: [{ image: 'base' }, { sizeBytes: 2 ** 30, cache: 'none' as const }] };

beforeEach(async () => {
  c = await AppCluster.make();
  await c.import('base');
  expect(await c.done(c.clone('web', { memoryBytes: 2 ** 30, vcpus: 2, definition: TWO_DISKS }))).toBe('succeeded');
});

describe('a capture', () => {
  it.each(['stopped', 'running'])(
    'of a %s vm makes an image on its host, and leaves the vm as it is',
    async (state) => {
      if (state === 'running') await start();
      const before = await c.life.vms.get('web');
      const { jobId } = await capture({ name: 'debian:12.4' });
      expect(await c.ended(jobId)).toBe('succeeded');
      const { image, copies } = await c.life.images.get('debian:12.4');
      expect(image).toMatchObject({
        state: 'available',
        origin: 'vm web, disk vda',
        defaults: { memoryBytes: 2 ** 30 },
      });
      expect(copies.map((k) => k.host)).toEqual([before.hostName]);
      const after = await c.life.vms.get('web');
      expect([after.state, after.vm]).toEqual([state, before.vm]);
      expect((await steps(jobId)).find((s) => s.name === 'copy')?.detail).toContain(
        state === 'running' ? 'as after a power cut' : 'as it was left',
      );
      expect(c.sim.hosts.all().flatMap((h) => [...h.uploads.keys()])).toEqual([]);
    },
  );

  it('takes the disks that were named, each under a name of its own', async () => {
    const { jobId, images } = await capture({ name: 'data:1', disks: ['vdb', 'vda'] });
    expect(await c.ended(jobId)).toBe('succeeded');
    expect(images.map((i) => i.name)).toEqual(['data:1', 'data-vda:1']);
    expect(await said(capture({ name: 'x', disks: ['vdc'] }))).toBe(
      'NOT_FOUND: vm web has no disk vdc: it has vda, vdb',
    );
  });

  it('is refused while the memory of the vm is saved, and under a name that is taken', async () => {
    expect(await said(capture({ name: 'base' }))).toContain('ALREADY_EXISTS');
    await start();
    expect(await c.done(c.life.vms.save('web', 'test'))).toBe('succeeded');
    expect(await said(capture({ name: 'x' }))).toContain('what it holds in memory is not on its disks');
    expect(c.life.state.tables.images.size).toBe(1);
  });

  it('of a disk in a pool needs a host that can read it, while the vm is off', async () => {
    const { vm } = await c.life.vms.get('web');
    const disks = vm.spec.disks.map((d) => ({ ...d, poolId: 'pool-nfs' as never }));
    await c.life.state.update((tx) => tx.vms.put({ ...vm, spec: { ...vm.spec, disks } }));
    expect(await said(capture({ name: 'x' }))).toContain('(it lacks volume.full)');
  });

  it('of a snapshot of disks in a pool of files is made by a host that can, while the vm runs too', async () => {
    const source = { type: 'dir' as const, targetPath: '/kvm/fast', hosts: [], path: '', name: '', devices: [] };
    const pool = {
      source: { ...source, format: '', initiator: '', adapter: '', authUser: '' },
      shared: false,
      secret: '',
    };
    const where = { allHosts: true, hosts: [], selector: '' };
    await c.ended((await c.timed(c.life.pools.create({ name: 'fast', ...pool, ...where }, 'test'))).jobId);
    const poolId = c.life.state.tables.pools.byName('fast')!.id;
    const { vm } = await c.life.vms.get('web');
    const disks = vm.spec.disks.map((d) => ({ ...d, poolId }));
    await c.life.state.update((tx) => tx.vms.put({ ...vm, spec: { ...vm.spec, disks } }));
    await start();
    for (const h of c.sim.hosts.all()) h.capabilities = [...h.capabilities, 'snapshots'];
    const wanted = { name: 'old:1', snapshot: 'before' };
    expect(await said(capture(wanted))).toContain('(it lacks snapshot.pools)');
    for (const h of c.sim.hosts.all()) h.capabilities = [...h.capabilities, 'snapshot.pools'];
    const { jobId, images } = await capture(wanted);
    expect([await c.ended(jobId), images[0]?.origin]).toEqual(['succeeded', 'vm web, disk vda, snapshot before']);
  });

  it('that fails leaves nothing', async () => {
    const host = c.sim.hosts.host(c.hostId((await c.life.vms.get('web')).hostName));
    host.diskFull = true;
    const { jobId } = await capture({ name: 'x' });
    expect(await c.ended(jobId)).toBe('failed');
    expect((await c.life.images.list({ pageSize: 0, pageToken: '' })).items.map((i) => i.image.name)).toEqual(['base']);
    expect([...host.uploads.keys()]).toEqual([]);
  });

  it('keeps the vm from being started or deleted meanwhile', async () => {
    const { jobId } = await capture({ name: 'x' });
    expect(await said(c.life.vms.delete('web', { force: true }, 'test'))).toContain('RESOURCE_BUSY');
    expect(await c.ended(jobId)).toBe('succeeded');
  });
});

describe('a clone of a vm', () => {
  it('has all its disks and what it is made of, and an identity of its own', async () => {
    const { jobId, images } = await capture({ hidden: true });
    expect(await c.ended(jobId)).toBe('succeeded');
    expect(await c.done(c.clone('web2', { image: images[0]!.id }))).toBe('succeeded');
    const [web, web2] = [(await c.life.vms.get('web')).vm, (await c.life.vms.get('web2')).vm];
    expect(web2.spec).toMatchObject({ memoryBytes: 2 ** 30, vcpus: 2 });
    expect(web2.spec.disks.map((d) => [d.target, d.imageId, d.options])).toEqual([
      ['vda', images[0]!.id, undefined],
      ['vdb', images[1]!.id, { cache: 'none' }],
    ]);
    expect(web2.uuid).not.toBe(web.uuid);
    expect(web2.spec.nics[0]?.mac).not.toBe(web.spec.nics[0]?.mac);
    expect(web2.spec.seedVolumeId).toBeDefined();
    expect((await c.life.images.list({ pageSize: 0, pageToken: '' })).items).toHaveLength(1);
    expect((await c.life.images.list({ pageSize: 0, pageToken: '', hidden: true })).items).toHaveLength(3);
  });
});
