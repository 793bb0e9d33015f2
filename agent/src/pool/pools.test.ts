/** Pools of an agent over simulated storage: twice is once, marks, what is refused, volumes, and a pool that hangs. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { poolLooks } from './pool-looks.ts';
import { imageFile } from './pool-images.ts';
import { DIGEST, PoolHosts, source, spec } from '../testing/pool-host.ts';
import { poolUuid } from './pool-spec.ts';

const hosts = new PoolHosts();
const host = (name: string) => hosts.host(name);
afterEach(() => hosts.close());

describe('a pool of a host', () => {
  it('is made once, however often it is asked for, and comes back when the agent does', async () => {
    const h = await host('h1');
    await h.ensure(spec());
    await h.ensure(spec({ generation: 2 }));
    expect([...h.drivers.storage.pools.keys()]).toEqual([poolUuid('pool-1')]);
    expect(h.files()).toEqual(['berth.pool-1.host-h1.mark']);
    await h.open();
    expect(await h.parts.watch.observe()).toMatchObject([{ poolId: 'pool-1', state: 'active', generation: 2 }]);
  });

  it('is started again when it is down and shall be up, and stays down when a person stopped it', async () => {
    const h = await host('h1');
    await h.ensure(spec());
    await h.drivers.storage.stop(poolUuid('pool-1'));
    expect(await h.parts.watch.observe()).toMatchObject([{ state: 'active' }]);
    await h.drivers.storage.undefine(poolUuid('pool-1'));
    expect(await h.parts.watch.observe()).toMatchObject([{ state: 'active' }]);
    await h.run('stop');
    await h.open();
    expect(await h.parts.watch.observe()).toMatchObject([{ state: 'inactive' }]);
  });

  it('is known for what it is by the agent after one that was killed while it started it', async () => {
    const h = await host('h1');
    await h.ensure(spec());
    vi.spyOn(h.drivers.storage, 'define').mockImplementationOnce(() => new Promise(() => undefined));
    void h.ensure(spec({ generation: 2 }));
    await vi.waitFor(() => expect(h.drivers.storage.define).toHaveBeenCalled());
    await h.open();
    // what was mounted there is gone
    h.drivers.storage.folders.at('/kvm/fast').clear();
    await expect(h.ensure(spec({ generation: 2 }))).rejects.toThrow('bears no mark');
    expect(h.files()).toEqual([]);
  });

  it('is refused under a name that libvirt has already, and nothing is changed', async () => {
    const h = await host('h1');
    h.drivers.storage.pools.set('foreign', { name: 'fast', xml: '<pool type="dir"/>', active: true });
    await expect(h.ensure(spec())).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
    expect(await h.parts.watch.observe()).toMatchObject([{ poolId: '', name: 'fast', uuid: 'foreign' }]);
    await h.open();
    expect(h.parts.store.pools()).toEqual([]);
  });

  it('keeps its secret with libvirt and nowhere else', async () => {
    const h = await host('h1');
    const key = Buffer.from('QSecretQ').toString('base64');
    const s = { ...source(''), type: 'rbd' as const, hosts: ['m'], name: 'vms', authUser: 'u' };
    await h.ensure(spec({ source: s }), false, Buffer.from(key).toString('base64'));
    // a key of Ceph is Base64 itself
    expect([...h.drivers.storage.secrets.values()]).toEqual(['QSecretQ']);
    expect(JSON.stringify([h.parts.store.pools(), [...h.ledger.entries()]])).not.toMatch(
      new RegExp(`QSecretQ|${key}|${Buffer.from(key).toString('base64')}`),
    );
    await h.run('remove');
    expect(h.drivers.storage.secrets.size).toBe(0);
  });

  it('is not up, and takes nothing, while what bears its mark is not there, and is up again when it is', async () => {
    const h = await host('h1');
    await h.ensure(spec());
    const files = h.drivers.storage.folders.at('/kvm/fast');
    const mark = [...files];
    const made = { volumeId: 'volume-1', vmId: 'vm-1', imageDigest: undefined, sizeBytes: 2 ** 30, poolId: 'pool-1' };
    files.clear(); // the mount is missing
    await expect(h.parts.disks.ensureVolume(made)).rejects.toThrow('bears no mark');
    expect(h.parts.store.volumes()).toEqual([]);
    expect(await h.parts.watch.observe()).toMatchObject([
      { state: 'failed', reason: expect.stringContaining('bears no mark') as string },
    ]);
    expect(h.drivers.storage.pools.get(poolUuid('pool-1'))?.active).toBe(false);
    await h.open(); // it knows after a restart as well
    expect(await h.parts.watch.observe()).toMatchObject([{ state: 'failed' }]);
    await expect(h.ensure(spec())).rejects.toThrow('bears no mark');
    expect([...files.keys()]).toEqual([]);
    for (const [name, file] of mark) files.set(name, file);
    await h.open();
    expect(await h.parts.watch.observe()).toMatchObject([{ state: 'active' }]);
    await h.parts.disks.ensureVolume(made);
  });

  it('says of no copy of an image that it is whole before it is on the disk', async () => {
    const h = await host('h1');
    await h.ensure(spec({ shared: true }));
    const file = join(h.dir, 'image');
    await writeFile(file, 'image');
    h.drivers.sim.images.set(DIGEST, { digest: DIGEST, virtualSizeBytes: 2 ** 20, fileBytes: 5 });
    vi.spyOn(h.drivers.disks, 'imagePath').mockReturnValue(file);
    const sync = vi.spyOn(h.drivers.storage, 'sync').mockRejectedValueOnce(new Error('lost'));
    const wanted = { poolId: 'pool-1', digest: DIGEST };
    await h.operations.run(h.parts.images.ensure, 'job-1.a', wanted);
    await expect.poll(() => h.operations.get('job-1.a').state).toBe('failed');
    expect(sync).toHaveBeenCalledWith(`/kvm/fast/${imageFile(DIGEST)}`, 5);
    expect(h.files().filter((n) => n.endsWith('.whole'))).toEqual([]);
    await h.operations.run(h.parts.images.ensure, 'job-1.b', wanted);
    await expect.poll(() => h.operations.get('job-1.b').state).toBe('succeeded');
    expect(h.files().filter((n) => n.endsWith('.whole'))).toHaveLength(1);
  });

  it('takes no copy of an image while its mark is not there', async () => {
    const h = await host('h1');
    await h.ensure(spec({ shared: true }));
    h.drivers.storage.folders.at('/kvm/fast').clear();
    const wanted = { poolId: 'pool-1', digest: DIGEST };
    await h.operations.run(h.parts.images.ensure, 'job-1.image', wanted);
    await expect.poll(() => h.operations.get('job-1.image').failure?.message).toContain('bears no mark');
    expect(h.files()).toEqual([]);
  });

  it('is told of as silent while its server does not answer, and then neither it nor another waits', async () => {
    const h = await host('h1');
    await h.ensure(spec());
    await h.ensure(spec({ poolId: 'pool-2', name: 'other', source: source('/kvm/other') }));
    await h.parts.watch.observe();
    h.drivers.storage.silent.add(poolUuid('pool-1'));
    expect(await h.parts.watch.observe()).toMatchObject([
      { poolId: 'pool-1', state: 'silent', capacityBytes: 100 * 2 ** 30 },
      { poolId: 'pool-2', state: 'active' },
    ]);
  });
});

describe('marks', () => {
  it('tell one storage from another that bears the same path', async () => {
    const [a, b] = [await host('h1'), await host('h2')];
    await a.ensure(spec({ shared: true }));
    await expect(b.ensure(spec({ shared: true }), true)).rejects.toThrow('is not the storage that the other hosts');
    expect(b.drivers.storage.pools.size).toBe(0);
    b.drivers.storage.folders = a.drivers.storage.folders;
    await b.ensure(spec({ shared: true }), true);
    expect(b.files()).toEqual(['berth.pool-1.mark']);
  });

  it('tell storage that is shared though nobody said so, and that of another pool', async () => {
    const [a, b] = [await host('h1'), await host('h2')];
    b.drivers.storage.folders = a.drivers.storage.folders;
    await a.ensure(spec());
    await expect(b.ensure(spec())).rejects.toThrow('--shared');
    await expect(b.ensure(spec({ poolId: 'pool-9', name: 'nine' }))).rejects.toMatchObject({ reason: 'IN_USE' });
    expect(b.drivers.storage.pools.size).toBe(0);
  });
});

describe('a volume in a pool', () => {
  const volume = { volumeId: 'volume-1', vmId: 'vm-1', imageDigest: undefined, sizeBytes: 2 ** 30, poolId: 'pool-1' };

  it('is made, found, counted and removed there, and keeps its pool from being removed', async () => {
    const h = await host('h1');
    await h.ensure(spec());
    await h.parts.disks.ensureVolume(volume);
    await h.parts.disks.ensureVolume(volume);
    expect(h.files()).toContain('volume-1.qcow2');
    expect(h.parts.disks.volumePath('volume-1', false)).toBe('/kvm/fast/volume-1.qcow2');
    await expect(h.parts.disks.ensureVolume({ ...volume, sizeBytes: 2 ** 31 })).rejects.toThrow('another sizeBytes');
    await expect(h.run('remove')).rejects.toMatchObject({ reason: 'IN_USE' });
    const [pool] = await h.parts.watch.observe();
    expect(pool?.volumesAllocatedBytes).toBeGreaterThan(0);
    await h.open();
    expect(await h.parts.disks.listVolumes()).toMatchObject([{ volumeId: 'volume-1', poolId: 'pool-1' }]);
    await h.parts.disks.removeVolume('volume-1');
    await h.run('remove');
    expect(h.files()).toEqual([]);
  });

  it('changes the stamp of all volumes when it comes and goes, and when its size does', async () => {
    const h = await host('h1');
    Object.assign(h.drivers.disks, { stamp: async () => 'own folders' });
    await h.open();
    await h.ensure(spec());
    const stamps = [await h.parts.disks.stamp?.()];
    await h.parts.disks.ensureVolume(volume);
    stamps.push(await h.parts.disks.stamp?.());
    await h.parts.disks.work.noteSize('volume-1', 2 ** 31);
    stamps.push(await h.parts.disks.stamp?.());
    await h.parts.disks.removeVolume('volume-1');
    expect(await h.parts.disks.stamp?.()).toBe(stamps[0]);
    expect(new Set(stamps).size).toBe(3);
    expect(stamps[0]).toContain('own folders');
  });

  it('is still there while its pool does not answer, and is not taken for gone', async () => {
    const h = await host('h1');
    await h.ensure(spec());
    await h.parts.disks.ensureVolume(volume);
    h.drivers.storage.silent.add(poolUuid('pool-1'));
    expect(await h.parts.disks.findVolume('volume-1')).toMatchObject({ volumeId: 'volume-1' });
    await expect(h.parts.disks.removeVolume('volume-1')).rejects.toMatchObject({ reason: 'STORAGE_UNAVAILABLE' });
    expect(await h.parts.disks.listVolumes()).toHaveLength(1);
  });

  it("lies over the host's copy of an image, which then does not go; or over the one in a pool that is shared", async () => {
    const h = await host('h1');
    h.drivers.sim.images.set(DIGEST, { digest: DIGEST, virtualSizeBytes: 2 ** 20, fileBytes: 1_000 });
    await h.ensure(spec());
    await h.parts.disks.ensureVolume({ ...volume, imageDigest: DIGEST });
    await expect(h.parts.disks.removeImage(DIGEST)).rejects.toMatchObject({ reason: 'IN_USE' });
    const shared = spec({ poolId: 'pool-2', name: 'nfs', source: source('/kvm/nfs'), shared: true });
    await h.ensure(shared);
    const there = { ...volume, volumeId: 'volume-2', imageDigest: DIGEST, poolId: 'pool-2' };
    await expect(h.parts.disks.ensureVolume(there)).rejects.toThrow('no copy of image');
    const { storage } = h.drivers;
    const half = { name: imageFile(DIGEST), format: 'raw', capacityBytes: 1_000 } as const;
    await storage.createVolume(poolUuid('pool-2'), half);
    await expect(h.parts.disks.ensureVolume(there)).rejects.toThrow('no copy of image');
    await storage.createVolume(poolUuid('pool-2'), { ...half, name: half.name.replace('qcow2', 'whole') });
    await h.parts.disks.ensureVolume(there);
    expect(await h.parts.disks.findVolume('volume-2')).toMatchObject({ backingPath: `/kvm/nfs/${imageFile(DIGEST)}` });
    expect(await h.parts.watch.observe()).toMatchObject([{}, { imageDigests: [DIGEST] }]);
  });

  it('of another host keeps the copy of an image in a shared pool, which only the pool itself tells of', async () => {
    const [a, b] = [await host('h1'), await host('h2')];
    b.drivers.storage.folders = a.drivers.storage.folders;
    const shared = spec({ shared: true });
    await a.ensure(shared);
    await b.ensure(shared, true);
    const { storage } = a.drivers;
    const file = { format: 'raw', capacityBytes: 1_000 } as const;
    const names = [imageFile(DIGEST), imageFile(DIGEST).replace('qcow2', 'whole')];
    for (const name of [...names, 'volume-7.qcow2']) await storage.createVolume(poolUuid('pool-1'), { ...file, name });
    const remove = () => a.operations.run(a.parts.images.remove, a.id(), { poolId: 'pool-1', digest: DIGEST });
    const reads = (backing: string) => {
      const bytes = emptyQcow2(2 ** 20, backing);
      const pieces = async function* () {
        yield bytes;
      };
      vi.spyOn(storage, 'read').mockResolvedValueOnce({ fileBytes: 1, allocatedBytes: 1, pieces });
    };
    reads(`/kvm/other/${imageFile(DIGEST)}`);
    expect((await remove()).failure).toMatchObject({ reason: 'IN_USE' });
    vi.spyOn(storage, 'read').mockRejectedValueOnce(new Error('EIO'));
    expect((await remove()).failure).toMatchObject({ reason: 'BAD_STATE' });
    expect(a.files()).toEqual(expect.arrayContaining(names));
    reads('/kvm/other/berth.0.qcow2');
    expect((await remove()).failure).toBeUndefined();
    expect(a.files()).toEqual(['berth.pool-1.mark', 'volume-7.qcow2']);
  });
});

describe('a pool whose folder hangs', () => {
  it('is refused in words, again at once, and holds up no other pool', async () => {
    const h = await host('h1');
    const clock = new SimClock();
    let asked = 0;
    const never = async (): Promise<never> => (asked++, new Promise<never>(() => undefined));
    const looks = poolLooks(h.dir, clock, {
      path: async (name) => (name === 'gone' ? never() : undefined),
      folder: async () => undefined,
      directIo: async () => true,
    });
    Object.assign(h.parts.pools, { deps: { ...h.parts.pools['deps'], looks } });
    const gone = spec({ poolId: 'pool-2', name: 'gone', source: source('/mnt/gone/vms') });
    const words = 'pool gone: the storage of /mnt/gone/vms does not answer. Look whether its server is up';
    const first = expect(h.ensure(gone)).rejects.toThrow(words);
    await vi.waitFor(() => expect(asked).toBe(1));
    await clock.advance(10_000);
    await first;
    await expect(h.ensure(gone)).rejects.toThrow(words);
    expect(asked).toBe(1);
    await h.ensure(spec());
    expect(await h.parts.watch.observe()).toMatchObject([{ poolId: 'pool-1', state: 'active' }]);
    await h.open();
    expect(h.parts.store.pools().map((p) => p.spec.name)).toEqual(['fast']);
  });
});
