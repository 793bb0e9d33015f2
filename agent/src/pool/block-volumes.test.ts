/** Volumes of an agent that are no files, over simulated storage: what is written into them, and what a crash in between leaves. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../drivers/disks.ts';
import { DIGEST, PoolHosts, source, spec, type PoolHost } from '../testing/pool-host.ts';
import { refuseMoving } from '../volume/moves.ts';
import { poolUuid, secretUuid } from './pool-spec.ts';

const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };
const CEPH = { ...source(''), type: 'rbd' as const, hosts: ['mon1:6789'], name: 'vms', authUser: 'berth' };
const LVM = { ...source('/dev/vg0'), type: 'logical' as const, name: 'vg0' };
const volume = { volumeId: 'volume-1', vmId: 'vm-1', imageDigest: undefined, sizeBytes: 2 ** 23, poolId: 'pool-1' };

const hosts = new PoolHosts();
let h: PoolHost;
beforeEach(async () => {
  h = await hosts.host('h1');
  h.drivers.sim.images.set(DIGEST, { digest: DIGEST, virtualSizeBytes: 2 ** 20, fileBytes: 1_000 });
});
afterEach(() => hosts.close());

const has = (name = 'volume-1'): Promise<boolean> => h.drivers.storage.hasVolume(poolUuid('pool-1'), name);

it('says how QEMU gets at one on Ceph, and is found by that in a domain', async () => {
  await h.ensure(spec({ source: CEPH, shared: true }), false, Buffer.from('a2V5').toString('base64'));
  expect(h.parts.disks.isOfBlocks(volume)).toBe(true);
  await h.parts.disks.ensureBlockVolume({ ...volume, format: 'raw' }, work);
  expect(await h.parts.disks.findVolume('volume-1')).toMatchObject({
    ...{ format: 'raw', poolId: 'pool-1', directIo: false, imageDigest: undefined },
    source: {
      ...{ type: 'network', protocol: 'rbd', name: 'vms/volume-1', hosts: ['mon1:6789'] },
      auth: { user: 'berth', secretUuid: secretUuid('pool-1') },
    },
  });
  expect(h.parts.disks.volumePath('volume-1', false)).toBe('rbd:vms/volume-1');
  await h.parts.disks.removeVolume('volume-1');
  expect(await has()).toBe(false);
});

it('writes an image to Ceph with the key of the pool, which libvirt keeps', async () => {
  await h.ensure(spec({ source: CEPH, shared: true }), false, Buffer.from('a2V5').toString('base64'));
  const writeOut = vi.spyOn(h.drivers.disks.blocks, 'writeOut');
  await h.parts.disks.ensureBlockVolume({ ...volume, imageDigest: DIGEST }, work);
  await h.parts.disks.ensureBlockVolume({ ...volume, imageDigest: DIGEST }, work);
  expect(writeOut).toHaveBeenCalledTimes(1);
  expect(Buffer.from(writeOut.mock.calls[0]![1].secret!).toString()).toBe('key');
  // it does not rest on the image, which may go
  await h.parts.disks.removeImage(DIGEST);
});

it('writes all of a logical volume, to its very end: nobody reads there what another wrote before', async () => {
  await h.ensure(spec({ source: LVM }));
  await h.parts.disks.ensureBlockVolume({ ...volume, imageDigest: DIGEST }, work);
  expect(h.drivers.storage.written.get('volume-1')).toBe(2 ** 23);
  expect(h.parts.disks.volumePath('volume-1', false)).toBe('/dev/vg0/volume-1');
  await h.parts.disks.work.wipe('volume-1', work);
  expect(h.drivers.storage.written.get('volume-1')).toBe(0);
});

it('makes a logical volume larger, and writes zeros over what others left in its new room, also after a crash in between', async () => {
  await h.ensure(spec({ source: LVM }));
  await h.parts.disks.ensureBlockVolume(volume, work);
  const { storage } = h.drivers;
  const upload = vi.spyOn(storage, 'upload').mockRejectedValueOnce(new ClusterError('HOST_UNREACHABLE', 'it ends'));
  const resize = (bytes: number) => h.parts.disks.work.resize('volume-1', bytes, { shrink: false }, work);
  await expect(resize(2 ** 24)).rejects.toThrow('it ends');
  await h.open();
  expect(await h.parts.disks.findVolume('volume-1')).toMatchObject({ growing: true, sizeBytes: 2 ** 23 });
  await expect(
    refuseMoving({ disks: h.parts.disks, places: h.parts.disks.places }, { name: 'web', vmId: 'vm-1' }),
  ).rejects.toThrow(/cannot start: .*berth volume resize/);
  upload.mockRestore();
  await resize(2 ** 24);
  expect([storage.writtenAt.get('volume-1'), storage.written.get('volume-1')]).toEqual([2 ** 23, 2 ** 23]);
  const seen = await h.parts.disks.findVolume('volume-1');
  expect([seen?.sizeBytes, seen?.growing]).toEqual([2 ** 24, undefined]);
  // whole extents: within what it has, nothing is written
  await resize(2 ** 24 + 512);
  storage.written.clear();
  await resize(2 ** 24 + 1024);
  expect(storage.written.size).toBe(0);
});

it('leaves a logical volume as it was when its group is full', async () => {
  await h.ensure(spec({ source: LVM }));
  await h.parts.disks.ensureBlockVolume(volume, work);
  vi.spyOn(h.drivers.storage, 'extendDevice').mockRejectedValueOnce(new ClusterError('DISK_FULL', 'no room'));
  await expect(h.parts.disks.work.resize('volume-1', 2 ** 24, { shrink: false }, work)).rejects.toThrow('no room');
  const seen = await h.parts.disks.findVolume('volume-1');
  expect([seen?.sizeBytes, seen?.growing]).toEqual([2 ** 23, undefined]);
});

it('is no volume until all of it is written, and is written anew by the agent after one that was killed', async () => {
  await h.ensure(spec({ source: CEPH, shared: true }), false, Buffer.from('a2V5').toString('base64'));
  const killed = new ClusterError('HOST_UNREACHABLE', 'the agent ends');
  const writeOut = vi.spyOn(h.drivers.disks.blocks, 'writeOut').mockRejectedValueOnce(killed);
  const wanted = { ...volume, imageDigest: DIGEST };
  await expect(h.parts.disks.ensureBlockVolume(wanted, work)).rejects.toThrow('the agent ends');
  await h.open();
  expect(await h.parts.disks.findVolume('volume-1')).toBeUndefined();
  expect(await h.parts.disks.listVolumes()).toEqual([]);
  await expect(h.run('remove')).rejects.toMatchObject({ reason: 'IN_USE' });
  await h.parts.disks.ensureBlockVolume(wanted, work);
  expect(writeOut).toHaveBeenCalledTimes(2);
  expect(await h.parts.disks.findVolume('volume-1')).toMatchObject({ volumeId: 'volume-1' });
});

it('leaves nothing when it can not be written, and touches none that it does not know', async () => {
  await h.ensure(spec({ source: CEPH, shared: true }), false, Buffer.from('a2V5').toString('base64'));
  vi.spyOn(h.drivers.disks.blocks, 'writeOut').mockRejectedValueOnce(new ClusterError('CANCELLED', 'cancelled'));
  await expect(h.parts.disks.ensureBlockVolume({ ...volume, imageDigest: DIGEST }, work)).rejects.toThrow('cancelled');
  expect([await has(), h.parts.store.volumes()]).toEqual([false, []]);
  const foreign = { name: 'volume-1', format: 'raw', capacityBytes: 512 } as const;
  await h.drivers.storage.createVolume(poolUuid('pool-1'), foreign);
  await expect(h.parts.disks.ensureBlockVolume(volume, work)).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
  expect(await has()).toBe(true);
});

it('refuses what can not be: an image that is larger or absent, qcow2', async () => {
  await h.ensure(spec({ source: LVM }));
  const small = { ...volume, sizeBytes: 2 ** 19, imageDigest: DIGEST };
  await expect(h.parts.disks.ensureBlockVolume(small, work)).rejects.toThrow('smaller than its image');
  const absent = { ...volume, imageDigest: DIGEST.replace('a', 'c') };
  await expect(h.parts.disks.ensureBlockVolume(absent, work)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  await expect(h.parts.disks.ensureBlockVolume({ ...volume, format: 'qcow2' }, work)).rejects.toThrow('holds no files');
  expect(h.parts.store.volumes()).toEqual([]);
});
