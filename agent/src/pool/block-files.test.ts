/** Files of volumes that are none, and volumes made of files that somebody sent, over simulated storage: what is written, read, refused. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Writable } from 'node:stream';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import type { LongWork } from '../drivers/disks.ts';
import type { VolumeFile } from '../drivers/volume-work.ts';
import { DIGEST, PoolHosts, source, spec, type PoolHost } from '../testing/pool-host.ts';
import { Uploads } from '../volume/uploads.ts';
import { VolumeExports } from '../volume/volume-exports.ts';
import { VolumeUploads } from '../volume/volume-uploads.ts';
import { imageFile } from './pool-images.ts';
import { poolUuid } from './pool-spec.ts';

const MIB = 2 ** 20;
const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };
const CEPH = { ...source(''), type: 'rbd' as const, hosts: ['mon1:6789'], name: 'vms', authUser: 'berth' };
const LVM = { ...source('/dev/vg0'), type: 'logical' as const, name: 'vg0' };
const SAN = {
  ...source('/dev/disk/by-path'),
  type: 'iscsi' as const,
  hosts: ['san'],
  path: 'iqn.2020-01.org.example:t',
};
const UNIT = { name: 'unit:0:0:1', capacityBytes: 8 * MIB, allocationBytes: 8 * MIB, key: '360001' };
const volume = { volumeId: 'volume-1', vmId: '', imageDigest: undefined, sizeBytes: 5 * MIB, poolId: 'pool-1' };
const raw = { ...volume, format: 'raw' as const };
const usual = { preallocation: 'off', clusterBytes: 65_536, lazyRefcounts: false } as const;
const PATH = '/var/lib/berth/staging/disk';

/** One MiB of data, and holes. */
const fileOf = (bytes = 5 * MIB): VolumeFile => ({
  ...{ fileBytes: bytes, allocatedBytes: MIB, ownPath: PATH },
  async *pieces(): AsyncGenerator<Piece> {
    yield MIB;
    yield Buffer.alloc(MIB, 7);
    yield bytes - 2 * MIB;
  },
});
const held = (bytes: number): Buffer => Buffer.alloc(bytes).fill(7, MIB, 2 * MIB);

const hosts = new PoolHosts();
let h: PoolHost;
beforeEach(async () => void (h = await hosts.host('h1')));
afterEach(async () => {
  vi.restoreAllMocks();
  await hosts.close();
});
const lvm = () => h.ensure(spec({ source: LVM }));
const ceph = () => h.ensure(spec({ source: CEPH, shared: true }), false, Buffer.from('a2V5').toString('base64'));
const there = (): Promise<boolean> => h.drivers.storage.hasVolume(poolUuid('pool-1'), 'volume-1');
const install = (over: object = {}, file = fileOf()) => h.parts.disks.work.install({ ...raw, ...over }, file, work);
const holds = (bytes: Buffer) =>
  vi.spyOn(h.drivers.storage, 'download').mockImplementation(async () =>
    (async function* () {
      for (let at = 0; at < bytes.length; at += MIB) yield bytes.subarray(at, at + MIB);
    })(),
  );

describe('a file that somebody sent', () => {
  it('is in a logical volume from its beginning, with zeros behind it to the very end', async () => {
    await lvm();
    const came: Buffer[] = [];
    const sink = () =>
      new Writable({
        write(chunk: Buffer, _encoding, done) {
          came.push(Buffer.from(chunk));
          done();
        },
      });
    const upload = vi.spyOn(h.drivers.storage, 'upload').mockImplementation(async () => sink());
    vi.spyOn(h.drivers.storage, 'lookAtVolume').mockResolvedValue({
      ...{ name: 'volume-1', capacityBytes: 8 * MIB, allocationBytes: 8 * MIB },
    });
    for (const _ of [1, 2]) await install();
    expect(upload).toHaveBeenCalledTimes(1);
    expect(Buffer.concat(came).equals(held(8 * MIB))).toBe(true);
    expect(await h.parts.disks.findVolume('volume-1')).toMatchObject({ format: 'raw', sizeBytes: 5 * MIB, vmId: '' });
  });

  it('is written to Ceph as a raw file of this host, and is a volume only when all of it is there', async () => {
    await ceph();
    const killed = new ClusterError('HOST_UNREACHABLE', 'the agent ends');
    const writeFileOut = vi.spyOn(h.drivers.disks.blocks, 'writeFileOut').mockRejectedValueOnce(killed);
    await expect(install()).rejects.toThrow('the agent ends');
    await h.open();
    expect([await h.parts.disks.findVolume('volume-1'), await h.parts.disks.listVolumes()]).toEqual([undefined, []]);
    await install();
    expect(writeFileOut).toHaveBeenLastCalledWith(
      { path: PATH, sizeBytes: 5 * MIB },
      expect.objectContaining({ source: expect.objectContaining({ name: 'vms/volume-1' }) as object }),
      expect.anything(),
    );
    expect(await h.parts.disks.findVolume('volume-1')).toMatchObject({ volumeId: 'volume-1' });
  });

  it('that is larger than its volume, or that the volume has no room for, makes nothing', async () => {
    await lvm();
    const create = vi.spyOn(h.drivers.storage, 'createVolume');
    await expect(install({}, fileOf(6 * MIB))).rejects.toThrow('does not fit in volume volume-1');
    expect(create).not.toHaveBeenCalled();
    create.mockRejectedValueOnce(new ClusterError('DISK_FULL', 'no room'));
    await expect(install()).rejects.toThrow('no room');
    await expect(install({ format: 'qcow2' })).rejects.toThrow();
    expect([await there(), h.parts.store.volumes()]).toEqual([false, []]);
  });

  it('leaves nothing when it can not be written, touches nothing that is not ours, and takes the place of no LUN', async () => {
    await lvm();
    vi.spyOn(h.drivers.storage, 'upload').mockRejectedValueOnce(new ClusterError('CANCELLED', 'cancelled'));
    await expect(install()).rejects.toThrow('cancelled');
    expect([await there(), h.parts.store.volumes()]).toEqual([false, []]);
    const foreign = { name: 'volume-1', format: 'raw', capacityBytes: 512 } as const;
    await h.drivers.storage.createVolume(poolUuid('pool-1'), foreign);
    await expect(install()).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
    expect(await there()).toBe(true);
    await h.ensure(spec({ poolId: 'pool-2', name: 'san', source: SAN, shared: true }));
    await expect(install({ poolId: 'pool-2', volumeId: 'volume-2' })).rejects.toThrow('nothing is made in it');
  });

  it('that names another file is not let in', async () => {
    await lvm();
    const log = createLog('test', 'silent');
    const { disks } = h.parts;
    const uploads = new Uploads(disks, h.ledger, log, () => false);
    const uploaded = new VolumeUploads({ disks, uploads, operations: h.operations });
    h.drivers.sim.uploads.set('job-1.receive', emptyQcow2(5 * MIB, '/etc/shadow'));
    const about = {
      uploadId: 'job-1.receive',
      volumeId: 'volume-1',
      fileFormat: '',
      format: 'raw',
      sizeBytes: 0,
    } as const;
    const id = h.id();
    await h.operations.run(uploaded.install, id, { ...about, poolId: 'pool-1' });
    await vi.waitFor(() => expect(h.operations.get(id).state).toBe('failed'));
    expect(h.operations.get(id).failure).toMatchObject({ reason: 'UNSAFE_IMAGE' });
    expect([await there(), h.parts.store.volumes()]).toEqual([false, []]);
  });
});

describe('a file for somebody outside', () => {
  const made = () => h.drivers.sim.uploads.get('job-1.make');
  const take = () => h.parts.disks.work.export('job-1.make', 'volume-1', 'raw', work);

  it('holds what is in a logical volume, without what its device has more of, and cuts nothing off', async () => {
    await lvm();
    await h.parts.disks.work.make({ ...raw, ...usual }, work);
    holds(held(8 * MIB));
    expect(await take()).toMatchObject({ virtualSizeBytes: 5 * MIB, fileBytes: 5 * MIB });
    expect(made()?.equals(held(5 * MIB))).toBe(true);
    const download = holds(Buffer.alloc(8 * MIB).fill(1, 6 * MIB, 6 * MIB + 1));
    await expect(take()).rejects.toThrow(/holds something behind its 5 MiB.*berth volume resize/);
    expect(download).toHaveBeenCalledTimes(1);
  });

  it('is read from Ceph with the key of its pool', async () => {
    await ceph();
    await h.parts.disks.work.make({ ...raw, ...usual }, work);
    const readIn = vi.spyOn(h.drivers.disks.blocks, 'readIn').mockImplementation(async function* () {
      yield held(5 * MIB);
    });
    await take();
    expect(made()?.equals(held(5 * MIB))).toBe(true);
    expect(Buffer.from(readIn.mock.calls[0]![0].secret!).toString()).toBe('key');
  });

  it('is made of a LUN while it is the one that was given out, and of nothing that is not whole', async () => {
    h.drivers.storage.folders.at('/dev/disk/by-path').set(UNIT.name, UNIT);
    await h.ensure(spec({ source: SAN, shared: true }));
    const unit = { name: UNIT.name, key: UNIT.key };
    await h.parts.disks.work.make({ ...raw, ...usual, sizeBytes: 8 * MIB, unit }, work);
    const download = holds(held(8 * MIB));
    await take();
    expect([made()?.equals(held(8 * MIB)), download.mock.calls[0]?.[1]]).toEqual([true, UNIT.name]);
    h.drivers.storage.folders.at('/dev/disk/by-path').set(UNIT.name, { ...UNIT, key: '360009' });
    await expect(take()).rejects.toThrow('is another unit by now');
    h.drivers.storage.folders.at('/dev/disk/by-path').set(UNIT.name, UNIT);
    const kept = h.parts.store.volume('volume-1')!;
    await h.parts.store.putVolume({ ...kept, cleanBytes: 4 * MIB });
    await expect(take()).rejects.toThrow('was being made larger');
  });

  it('or a copy for an image is made of it in the same way', async () => {
    await lvm();
    await h.parts.disks.work.make({ ...raw, ...usual }, work);
    holds(held(8 * MIB));
    await h.parts.disks.captureVolume('job-1.make', 'volume-1', work);
    expect(made()?.equals(held(5 * MIB))).toBe(true);
  });

  it('is made of what a qcow2 file in a pool held in a snapshot; what is raw has none', async () => {
    h.drivers.sim.images.set(DIGEST, { digest: DIGEST, virtualSizeBytes: MIB, fileBytes: 1_000 });
    await h.ensure(spec());
    await h.parts.disks.ensureVolume({ ...volume, imageDigest: DIGEST });
    const captured = vi.spyOn(h.drivers.disks.blocks, 'captureSnapshot');
    const of = { volumeId: 'volume-1', snapshot: 'before' };
    await h.parts.disks.captureSnapshot('job-1.make', of, work);
    const file = { path: '/kvm/fast/volume-1.qcow2', format: 'qcow2', backing: h.drivers.disks.imagePath(DIGEST) };
    expect(captured.mock.calls[0]).toMatchObject(['job-1.make', { snapshot: 'before', file }, {}]);
    expect(made()).toBeDefined();
    await h.drivers.storage.removeVolume(poolUuid('pool-1'), 'berth.pool-1.host-h1.mark');
    await expect(h.parts.disks.captureSnapshot('job-2.make', of, work)).rejects.toThrow('bears no mark');
    await h.ensure(spec({ poolId: 'pool-2', name: 'vg', source: LVM }));
    await h.parts.disks.work.make({ ...raw, ...usual, volumeId: 'volume-2', poolId: 'pool-2' }, work);
    await expect(
      h.parts.disks.captureSnapshot('job-2.make', { ...of, volumeId: 'volume-2' }, work),
    ).rejects.toMatchObject({ reason: 'UNSUPPORTED', message: 'volume volume-2 is raw: there is no snapshot in it' });
    expect(captured).toHaveBeenCalledTimes(1);
  });

  it.each([
    ['its host has', false],
    ['lies in the pool', true],
  ])('is made of a volume in a pool of files with what is in its image, which %s', async (_, shared) => {
    h.drivers.sim.images.set(DIGEST, { digest: DIGEST, virtualSizeBytes: MIB, fileBytes: 1_000 });
    await h.ensure(spec({ shared }));
    for (const name of [imageFile(DIGEST), imageFile(DIGEST).replace('qcow2', 'whole')])
      if (shared) await h.drivers.storage.createVolume(poolUuid('pool-1'), { name, format: 'raw', capacityBytes: 512 });
    await h.parts.disks.ensureVolume({ ...volume, imageDigest: DIGEST });
    const readFile = vi.spyOn(h.drivers.disks.blocks, 'readFile').mockImplementation(async function* () {
      yield held(5 * MIB);
    });
    await take();
    expect(made()?.equals(held(5 * MIB))).toBe(true);
    const backing = shared ? `/kvm/fast/${imageFile(DIGEST)}` : h.drivers.disks.imagePath(DIGEST);
    const about = {
      volumeId: 'volume-1',
      format: 'qcow2',
      path: '/kvm/fast/volume-1.qcow2',
      sizeBytes: 5 * MIB,
      backing,
    };
    expect(readFile.mock.calls.map(([file]) => file)).toEqual([about]);
  });

  it('is a raw file of a pool as that is', async () => {
    await h.ensure(spec());
    await install();
    vi.spyOn(h.drivers.storage, 'read').mockResolvedValue(fileOf());
    await take();
    expect(made()?.equals(held(5 * MIB))).toBe(true);
  });

  it('is made by an operation, and not while a guest runs with the volume', async () => {
    await ceph();
    await h.parts.disks.work.make({ ...raw, ...usual }, work);
    const { hypervisor } = h.drivers;
    const about = { hypervisor, disks: h.parts.disks, uploads: { keep: async () => undefined } };
    const exports = new VolumeExports({ ...about, operations: h.operations });
    const run = async () => {
      const id = h.id();
      await h.operations.run(exports.make, id, { volumeId: 'volume-1', format: 'qcow2', exportId: 'job-1.make' });
      await vi.waitFor(() => expect(h.operations.get(id).state).not.toBe('running'));
      return h.operations.get(id);
    };
    expect((await run()).image).toMatchObject({ virtualSizeBytes: 5 * MIB });
    vi.spyOn(hypervisor, 'list').mockResolvedValue([{ uuid: 'u', name: 'web' }] as never);
    vi.spyOn(hypervisor, 'getRunningXml').mockResolvedValue(
      "<domain><devices><disk type='network' device='disk'><source protocol='rbd' name='vms/volume-1'/>" +
        "<target dev='vda'/></disk></devices></domain>",
    );
    expect((await run()).failure?.message).toContain('domain web runs with it as vda');
  });
});
