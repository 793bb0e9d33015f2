/** What comes into a pool from another host, or is made there beside what others have made: ours alone, whole, or nothing. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { alreadyExists, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../drivers/disks.ts';
import type { VolumeFile } from '../drivers/volume-work.ts';
import { DIGEST, PoolHosts, source, spec, type PoolHost } from '../testing/pool-host.ts';
import { poolUuid } from './pool-spec.ts';

const MIB = 2 ** 20;
const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };
const volume = { volumeId: 'volume-1', vmId: '', imageDigest: undefined, sizeBytes: 64 * MIB, poolId: 'pool-1' };
const POOL = poolUuid('pool-1');
const fileOf = (...pieces: Piece[]): VolumeFile => {
  const fileBytes = pieces.reduce<number>((n, p) => n + (typeof p === 'number' ? p : p.length), 0);
  return {
    ...{ fileBytes, allocatedBytes: fileBytes },
    async *pieces() {
      yield* pieces;
    },
  };
};

const hosts = new PoolHosts();
let h: PoolHost;
beforeEach(async () => {
  h = await hosts.host('h1');
  h.drivers.sim.images.set(DIGEST, { digest: DIGEST, virtualSizeBytes: MIB, fileBytes: 1_000 });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await hosts.close();
});
const install = (file: VolumeFile, over: object = {}) => h.parts.disks.work.install({ ...volume, ...over }, file, work);
const ours = () => h.files().filter((n) => n.startsWith('volume-'));

it('is not taken when it names another file or has another size; and nothing stays', async () => {
  await h.ensure(spec());
  const data = emptyQcow2(64 * MIB);
  data.writeBigUInt64BE(4n, 72);
  for (const [file, why, over] of [
    [fileOf(emptyQcow2(64 * MIB, '/etc/shadow')), /refers to \/etc\/shadow/, {}],
    [fileOf(data, 8 * MIB), /has features that Berth does not use/, {}],
    [fileOf(emptyQcow2(32 * MIB)), /is a disk of 33554432 bytes/, {}],
    [fileOf(64 * MIB), /is not a qcow2 file/, {}],
    [fileOf(63 * MIB), /has 66060288 bytes, and should have/, { format: 'raw' }],
  ] as const)
    await expect(install(file, over)).rejects.toThrow(why);
  expect([ours(), h.parts.store.volumes()]).toEqual([[], []]);
  // as long as what was in it once
  await install(fileOf(emptyQcow2(64 * MIB, '/where/it/was'), 2 ** 30), { imageDigest: DIGEST });
  await install(fileOf(64 * MIB), { volumeId: 'volume-2', format: 'raw' });
  expect(ours()).toEqual(['volume-1.qcow2', 'volume-2.raw']);
});

it('is removed with its volume when the agent was killed before all of it was there', async () => {
  await h.ensure(spec());
  vi.spyOn(h.drivers.storage, 'write').mockImplementationOnce(() => new Promise(() => undefined));
  void install(fileOf(emptyQcow2(64 * MIB)));
  await vi.waitFor(() => expect(ours()).toEqual(['volume-1.qcow2']));
  await h.open();
  expect([await h.parts.disks.findVolume('volume-1'), await h.parts.disks.listVolumes()]).toEqual([undefined, []]);
  const { disks } = h.parts;
  for (const use of [disks.work.assign('volume-1', { from: '', to: 'vm-1' }), disks.work.read('volume-1')])
    await expect(use).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  await h.parts.disks.removeVolume('volume-1');
  expect([ours(), h.parts.store.volumes()]).toEqual([[], []]);
});

it('is taken anew by the agent after one that was killed, and is never taken for a blank one', async () => {
  await h.ensure(spec());
  vi.spyOn(h.drivers.storage, 'write').mockImplementationOnce(() => new Promise(() => undefined));
  void install(fileOf(emptyQcow2(64 * MIB)));
  await vi.waitFor(() => expect(ours()).toEqual(['volume-1.qcow2']));
  await h.open();
  await install(fileOf(emptyQcow2(64 * MIB), 8 * MIB));
  expect(await h.parts.disks.findVolume('volume-1')).toMatchObject({ poolId: 'pool-1' });
  expect((await h.parts.disks.work.read('volume-1')).fileBytes).toBeGreaterThan(8 * MIB);
});

const clone = { ...volume, imageDigest: DIGEST };

it('is a copy of an image that rests on nothing, made once, as large as it is to be', async () => {
  await h.ensure(spec());
  const { disks, store } = h.parts;
  await expect(disks.ensureFullClone({ ...clone, sizeBytes: 512 }, work)).rejects.toThrow('smaller than its image');
  expect([ours(), store.volumes()]).toEqual([[], []]);
  const copyImage = vi.spyOn(h.drivers.disks.blocks, 'copyImage');
  for (let i = 0; i < 2; i++) await disks.ensureFullClone(clone, work);
  expect(copyImage).toHaveBeenCalledTimes(1);
  expect(await disks.findVolume('volume-1')).toMatchObject({ poolId: 'pool-1', sizeBytes: 64 * MIB });
  expect((await disks.findVolume('volume-1'))?.imageDigest).toBeUndefined();
  expect([ours(), await h.drivers.disks.findVolume('volume-1')]).toEqual([['volume-1.qcow2'], undefined]);
  await disks.removeImage(DIGEST);
  await expect(disks.ensureFullClone({ ...clone, sizeBytes: 65 * MIB }, work)).rejects.toMatchObject({
    reason: 'ALREADY_EXISTS',
  });
});

it('is copied anew by the agent after one that was killed while it carried the copy', async () => {
  await h.ensure(spec());
  vi.spyOn(h.drivers.storage, 'write').mockImplementationOnce(() => new Promise(() => undefined));
  void h.parts.disks.ensureFullClone(clone, work);
  await vi.waitFor(() => expect(ours()).toEqual(['volume-1.qcow2']));
  await h.open();
  expect(await h.parts.disks.findVolume('volume-1')).toBeUndefined();
  await h.parts.disks.ensureFullClone(clone, work);
  expect(await h.parts.disks.findVolume('volume-1')).toMatchObject({ poolId: 'pool-1' });
});

it('leaves nothing of a copy for which the pool has no room', async () => {
  await h.ensure(spec());
  const close = vi.fn(async () => undefined);
  const staged = { ...fileOf(emptyQcow2(64 * MIB)), allocatedBytes: 2 ** 60, close };
  vi.spyOn(h.drivers.disks.blocks, 'copyImage').mockResolvedValueOnce(staged);
  await expect(h.parts.disks.ensureFullClone(clone, work)).rejects.toMatchObject({ reason: 'DISK_FULL' });
  expect([ours(), h.parts.store.volumes(), close.mock.calls.length]).toEqual([[], [], 1]);
});

it('is not copied first when its image alone is larger than the room in the pool', async () => {
  await h.ensure(spec());
  const { blocks } = h.drivers.disks;
  const copyImage = vi.spyOn(blocks, 'copyImage');
  const [image] = await h.drivers.disks.listImages();
  vi.spyOn(h.drivers.disks, 'listImages').mockResolvedValue([{ ...image!, fileBytes: 2 ** 60 }]);
  await h.open();
  await expect(h.parts.disks.ensureFullClone(clone, work)).rejects.toMatchObject({ reason: 'DISK_FULL' });
  expect([ours(), copyImage.mock.calls.length]).toEqual([[], 0]);
});

it('leaves the file of another host in a shared pool alone: that may be the one that is sent', async () => {
  const other = await hosts.host('h2');
  other.drivers.storage.folders = h.drivers.storage.folders;
  await h.ensure(spec({ shared: true }));
  await other.ensure(spec({ shared: true }), true);
  await other.parts.disks.ensureVolume(volume);
  const file = await other.parts.disks.work.read('volume-1');
  await expect(install(file)).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
  expect([ours(), h.parts.store.volumes()]).toEqual([['volume-1.qcow2'], []]);
});

it('leaves a disk alone that another host has made in Ceph since libvirt looked last', async () => {
  const CEPH = { ...source(''), type: 'rbd' as const, hosts: ['mon1:6789'], name: 'vms' };
  await h.ensure(spec({ source: CEPH, shared: true }));
  const { storage } = h.drivers;
  await storage.createVolume(POOL, { name: 'volume-1', format: 'raw', capacityBytes: 512 });
  vi.spyOn(storage, 'hasVolume').mockResolvedValueOnce(true).mockResolvedValueOnce(false);
  await expect(h.parts.disks.ensureBlockVolume(volume, work)).rejects.toThrow('knows nothing of');
  vi.spyOn(storage, 'createVolume').mockRejectedValueOnce(new ClusterError('INTERNAL', 'lvcreate: exists already'));
  vi.spyOn(storage, 'hasVolume').mockResolvedValueOnce(true).mockResolvedValueOnce(false);
  await expect(h.parts.disks.ensureBlockVolume(volume, work)).rejects.toThrow('lvcreate');
  expect([await storage.lookAtVolume(POOL, 'volume-1'), h.parts.store.volumes()]).toMatchObject([
    { capacityBytes: 512 },
    [],
  ]);
});

it('makes no disk anew that it has made, only because libvirt has not looked lately', async () => {
  const CEPH = { ...source(''), type: 'rbd' as const, hosts: ['mon1:6789'], name: 'vms' };
  await h.ensure(spec({ source: CEPH, shared: true }));
  const { storage } = h.drivers;
  await h.parts.disks.ensureBlockVolume(volume, work);
  vi.spyOn(storage, 'hasVolume').mockResolvedValueOnce(false);
  const made = vi.spyOn(storage, 'createVolume').mockRejectedValueOnce(alreadyExists('volume-1 is there'));
  await h.parts.disks.ensureBlockVolume(volume, work);
  expect([made.mock.calls.length, await storage.hasVolume(POOL, 'volume-1')]).toEqual([0, true]);
});
