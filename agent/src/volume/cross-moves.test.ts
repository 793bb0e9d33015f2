/** Moves to and from pools without files: a raw copy there, a raw file back, the old one while it can be; and under a guest that runs. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { Domains } from '../domain/domains.ts';
import type { DomainSpec } from '../domain/spec.ts';
import { DIGEST, PoolHosts, source, spec, type PoolHost } from '../testing/pool-host.ts';
import { poolUuid } from '../pool/pool-spec.ts';
import { refuseMoving, VolumeMoves } from './moves.ts';

const MIB = 2 ** 20;
const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const ref = { uuid: UUID, vmId: 'vm-1' };
const web: DomainSpec = {
  ...{ ...ref, name: 'web', vcpus: 1, memoryBytes: 512 * MIB, nics: [], seedVolumeId: undefined, generation: 1 },
  disks: [{ target: 'vda', volumeId: 'volume-1' }],
};
const LVM = { ...source('/dev/vg0'), type: 'logical' as const, name: 'vg0' };
const CEPH = { ...source(''), type: 'rbd' as const, hosts: ['mon1:6789'], name: 'vms', authUser: 'berth' };
const log = createLog('test', 'silent');

const hosts = new PoolHosts();
let h: PoolHost;
let domains: Domains;
let moves: VolumeMoves;
const parts = (): void => {
  const { hypervisor } = h.drivers;
  const { disks } = h.parts;
  const { operations } = h;
  const abilities = async () => ({ domainType: 'qemu' as const, emulatorPath: '/usr/bin/qemu', directIo: true });
  domains = new Domains({
    ...{ hypervisor, disks, operations, hostName: 'h1', bootDir: '/var/lib/berth/boot', log, abilities },
    ...{ means: h.drivers.means, guestDisks: { unfinished: async () => [] } },
    mayStart: (vm) => refuseMoving({ disks, places: disks.places }, vm),
  });
  const directIo = async () => true;
  const about = { hypervisor, disks, places: disks.places, domains, operations, clock: systemClock, log, directIo };
  moves = new VolumeMoves(about);
};
beforeEach(async () => {
  h = await hosts.host('h1');
  parts();
  h.drivers.sim.images.set(DIGEST, { digest: DIGEST, virtualSizeBytes: MIB, fileBytes: 1_000 });
  await h.parts.disks.ensureVolume({ volumeId: 'volume-1', vmId: 'vm-1', imageDigest: DIGEST, sizeBytes: 8 * MIB });
  await h.operations.run(domains.ensure, h.id(), web);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await hosts.close();
});

type Failure = { reason?: string | undefined; message?: string | undefined } | undefined;
async function move(to: string, how: { full?: boolean } = {}): Promise<Failure> {
  const id = h.id();
  await h.operations.run(moves.move, id, { volumeId: 'volume-1', to, ...how });
  await vi.waitFor(() => expect(h.operations.get(id).state).not.toBe('running'), { timeout: 20_000, interval: 5 });
  return h.operations.get(id).failure;
}
const finish = () => h.operations.run(moves.finish, h.id(), 'volume-1');
const isThere = () => h.drivers.storage.hasVolume(poolUuid('pool-1'), 'volume-1');
const seen = async () => h.parts.disks.findVolume('volume-1');
const stored = () => h.drivers.hypervisor.getXml(UUID);
const running = () => h.drivers.hypervisor.getRunningXml(UUID);
/** What a pool without files gives is as long as the disk. */
const whole = () =>
  vi.spyOn(h.drivers.disks.blocks, 'readIn').mockImplementation(async function* () {
    yield Buffer.alloc(8 * MIB);
  });

describe.each([
  ['LVM', LVM, /<source dev="\/dev\/vg0\/volume-1"/],
  ['Ceph', CEPH, /<source protocol="rbd" name="vms\/volume-1"/],
] as const)('a disk of a vm that is off, and %s', (_, where, xml) => {
  beforeEach(() => h.ensure(spec({ source: where }), false, where === CEPH ? 'a2V5' : ''));

  it('is a raw copy there, rests on nothing, and comes back as a raw file', async () => {
    expect(await move('pool-1')).toBeUndefined();
    await finish();
    expect(await seen()).toMatchObject({ poolId: 'pool-1', format: 'raw', imageDigest: undefined, sizeBytes: 8 * MIB });
    expect(await stored()).toMatch(xml);
    expect(h.drivers.sim.volumes.has('volume-1')).toBe(false);
    if (where === LVM) expect(h.drivers.storage.written.get('volume-1')).toBe(8 * MIB);
    whole();
    expect(await move('')).toBeUndefined();
    await finish();
    expect(await seen()).toMatchObject({ format: 'raw', imageDigest: undefined, sizeBytes: 8 * MIB });
    expect([(await seen())?.poolId, await isThere()]).toEqual([undefined, false]);
    expect(await stored()).toContain('volume-1.raw');
  });

  it('goes back to what it was while that is there, and starts nothing in between', async () => {
    expect(await move('pool-1')).toBeUndefined();
    const started = h.operations.run(domains.start, h.id(), ref);
    await expect(started).rejects.toMatchObject({ reason: 'RESOURCE_BUSY' });
    expect(await move('')).toBeUndefined();
    expect(await seen()).toMatchObject({ imageDigest: DIGEST, sizeBytes: 8 * MIB });
    expect([await isThere(), h.parts.store.move('volume-1')]).toEqual([false, undefined]);
    expect(await stored()).toContain('volume-1.qcow2');
    await h.operations.run(domains.start, h.id(), ref);
  });

  it('is written anew by the agent after one that was killed, and what another made there is left alone', async () => {
    const { storage } = h.drivers;
    const killed = new ClusterError('HOST_UNREACHABLE', 'it ends');
    const stops = where === LVM ? vi.spyOn(storage, 'upload') : vi.spyOn(h.drivers.disks.blocks, 'writeVolumeOut');
    stops.mockRejectedValueOnce(killed);
    await move('pool-1');
    await h.open();
    parts();
    expect(await seen()).toMatchObject({ imageDigest: DIGEST });
    expect(await move('pool-1')).toBeUndefined();
    await finish();
    expect((await seen())?.poolId).toBe('pool-1');
    await storage.createVolume(poolUuid('pool-1'), { name: 'volume-2', format: 'raw', capacityBytes: 512 });
    const other = { volumeId: 'volume-2', vmId: '', imageDigest: DIGEST, sizeBytes: 8 * MIB };
    await h.drivers.disks.ensureVolume(other);
    const id = h.id();
    await h.operations.run(moves.move, id, { volumeId: 'volume-2', to: 'pool-1' });
    await vi.waitFor(() => expect(h.operations.get(id).state).toBe('failed'));
    expect(h.operations.get(id).failure?.message).toContain('knows nothing of');
    await h.parts.disks.removeVolume('volume-2');
    expect(await storage.hasVolume(poolUuid('pool-1'), 'volume-2')).toBe(true);
  });

  it('stays where its growth was cut off, until that has ended', async () => {
    expect(await move('pool-1')).toBeUndefined();
    await finish();
    const { store } = h.parts;
    await store.putVolume({ ...store.volume('volume-1')!, cleanBytes: 4 * MIB });
    expect((await move(''))?.message).toMatch(/was being made larger.*berth volume resize/);
    expect([await isThere(), store.move('volume-1')]).toEqual([true, undefined]);
  });

  it('goes there and back under a guest that runs, all that it sees, and nothing of it is left behind', async () => {
    const begin = vi.spyOn(h.drivers.hypervisor.copies, 'begin');
    await h.operations.run(domains.start, h.id(), ref);
    expect(await move('pool-1')).toBeUndefined();
    expect([await stored(), await running()]).toEqual([expect.stringMatching(xml), expect.stringMatching(xml)]);
    expect(begin).toHaveBeenLastCalledWith(UUID, 'vda', expect.stringMatching(xml), { deep: true });
    await finish();
    expect(await seen()).toMatchObject({ poolId: 'pool-1', format: 'raw', imageDigest: undefined });
    expect(h.drivers.sim.volumes.has('volume-1')).toBe(false);
    expect(await move('')).toBeUndefined();
    await finish();
    expect([await isThere(), (await seen())?.poolId, (await seen())?.format]).toEqual([false, undefined, 'raw']);
    expect([await stored(), await running()].map((x) => x.includes('/volume-1.raw"'))).toEqual([true, true]);
  });

  it('has a guest that ended and started again since it went there go on there, and takes along what that wrote', async () => {
    await h.operations.run(domains.start, h.id(), ref);
    expect(await move('pool-1')).toBeUndefined();
    await h.operations.run(domains.forceOff, h.id(), ref);
    await h.operations.run(domains.start, h.id(), ref);
    expect(await running()).toMatch(xml);
    // undone: what it was before is older than that, and goes
    expect(await move('')).toBeUndefined();
    expect(h.parts.store.move('volume-1')).toMatchObject({ from: 'pool-1', to: '' });
    await finish();
    expect(await seen()).toMatchObject({ format: 'raw', imageDigest: undefined });
    expect([await isThere(), (await seen())?.poolId]).toEqual([false, undefined]);
  });

  it('stays where it was, as it was, when that is given up under a guest', async () => {
    await h.operations.run(domains.start, h.id(), ref);
    vi.spyOn(h.drivers.hypervisor.copies, 'progress').mockResolvedValue({ doneBytes: 1, totalBytes: 2, ready: false });
    const id = h.id();
    await h.operations.run(moves.move, id, { volumeId: 'volume-1', to: 'pool-1' });
    await vi.waitFor(async () => expect(await running()).toContain('<mirror'), { timeout: 20_000 });
    await h.operations.cancel(id);
    expect(await seen()).toMatchObject({ imageDigest: DIGEST });
    expect([await isThere(), await running()]).toEqual([false, expect.not.stringContaining('<mirror')]);
    expect(h.parts.store.move('volume-1')).toBeUndefined();
  });

  it.each([false, true])('goes straight from a pool of files, and back to it (its guest runs: %s)', async (on) => {
    await h.ensure(spec({ poolId: 'pool-2', name: 'files', source: source('/kvm/files') }));
    await h.parts.store.putPool({ ...h.parts.store.pool('pool-2')!, directIo: true });
    expect(await move('pool-2')).toBeUndefined();
    await finish();
    if (on) await h.operations.run(domains.start, h.id(), ref);
    const readFile = vi.spyOn(h.drivers.disks.blocks, 'readFile');
    expect(await move('pool-1')).toBeUndefined();
    expect(readFile.mock.calls.map(([file]) => file)).toEqual(
      on
        ? []
        : [
            {
              volumeId: 'volume-1',
              path: '/kvm/files/volume-1.qcow2',
              format: 'qcow2',
              sizeBytes: 8 * MIB,
              backing: h.drivers.disks.imagePath(DIGEST),
            },
          ],
    );
    expect(h.files('/kvm/files')).toContain('volume-1.qcow2');
    await finish();
    expect([await stored(), h.files('/kvm/files').filter((f) => f.startsWith('volume'))]).toEqual([
      expect.stringMatching(xml),
      [],
    ]);
    whole();
    expect(await move('pool-2')).toBeUndefined();
    await finish();
    expect([await isThere(), h.files('/kvm/files').filter((f) => f.startsWith('volume'))]).toEqual([
      false,
      ['volume-1.raw'],
    ]);
    expect(await seen()).toMatchObject({ poolId: 'pool-2', format: 'raw', imageDigest: undefined });
    // raw by now, it goes as it is
    expect(await move('pool-1')).toBeUndefined();
    // before what it was is gone, it can be that again; under its guest it is copied back
    expect(await move('pool-2')).toBeUndefined();
    await finish();
    expect([await isThere(), (await seen())?.poolId, h.files('/kvm/files')]).toEqual([
      false,
      'pool-2',
      expect.arrayContaining(['volume-1.raw']),
    ]);
    expect(await stored()).toContain('/kvm/files/volume-1.raw');
  });
});

it('cuts nothing off that lies behind its size in a device of whole extents', async () => {
  await h.ensure(spec({ source: LVM }));
  await move('pool-1');
  await finish();
  const held = Buffer.alloc(12 * MIB);
  held[9 * MIB] = 1;
  vi.spyOn(h.drivers.storage, 'download').mockImplementation(async () =>
    (async function* () {
      yield held;
    })(),
  );
  expect((await move(''))?.message).toContain('holds something behind its 8 MiB');
  expect([await isThere(), (await seen())?.poolId]).toEqual([true, 'pool-1']);
});

describe.each([false, true])('between two pools without files, and its guest runs: %s', (on) => {
  const other = { ...LVM, targetPath: '/dev/vg1', name: 'vg1' };
  beforeEach(async () => {
    await h.ensure(spec({ source: LVM }));
    await h.ensure(spec({ poolId: 'pool-2', name: 'ceph', source: CEPH }), false, 'a2V5');
    await h.ensure(spec({ poolId: 'pool-3', name: 'slow', source: other }));
    expect(await move('pool-1')).toBeUndefined();
    await finish();
    if (on) await h.operations.run(domains.start, h.id(), ref);
  });

  it('it goes straight, to any of them', async () => {
    const writeIn = vi.spyOn(h.drivers.disks.blocks, 'writeIn');
    whole();
    for (const [to, at] of [
      ['pool-2', 'rbd" name="vms/volume-1"'],
      ['pool-3', 'dev="/dev/vg1/volume-1"'],
      ['pool-1', 'dev="/dev/vg0/volume-1"'],
    ] as const) {
      expect(await move(to)).toBeUndefined();
      await finish();
      expect([(await seen())?.poolId, await stored()]).toEqual([to, expect.stringContaining(at)]);
      if (on) expect(await running()).toContain(at);
    }
    expect(writeIn).toHaveBeenCalledTimes(on ? 0 : 1);
    for (const [n, there] of [
      ['1', true],
      ['2', false],
      ['3', false],
    ] as const)
      expect([n, await h.drivers.storage.hasVolume(poolUuid(`pool-${n}`), 'volume-1')]).toEqual([n, there]);
  });
});

it('makes what a guest moves to as large as what it sees, and clears what is behind that', async () => {
  await h.ensure(spec({ source: LVM }));
  await move('pool-1');
  await finish();
  const { storage } = h.drivers;
  const uuid = poolUuid('pool-1');
  // a device of whole extents, which are larger than its disk
  await storage.extendDevice('/dev/vg0/volume-1', 12 * MIB);
  await h.ensure(spec({ poolId: 'pool-2', name: 'big', source: { ...LVM, targetPath: '/dev/vg1', name: 'vg1' } }));
  await h.operations.run(domains.start, h.id(), ref);
  const create = storage.createVolume.bind(storage);
  vi.spyOn(storage, 'createVolume').mockImplementation((at, w) => create(at, { ...w, capacityBytes: 16 * MIB }));
  expect((await move(''))?.message).toContain('has 8 MiB, and its guest sees the 12 MiB of its device');
  expect([(await seen())?.poolId, await storage.hasVolume(uuid, 'volume-1')]).toEqual(['pool-1', true]);
  storage.written.clear();
  expect(await move('pool-2')).toBeUndefined();
  expect(storage.createVolume).toHaveBeenLastCalledWith(
    poolUuid('pool-2'),
    expect.objectContaining({ capacityBytes: 12 * MIB }),
  );
  expect([storage.writtenAt.get('volume-1'), storage.written.get('volume-1')]).toEqual([12 * MIB, 4 * MIB]);
});

it('holds nothing open there when there is no room here', async () => {
  await h.ensure(spec({ source: LVM }));
  await move('pool-1');
  await finish();
  const download = vi.spyOn(h.drivers.storage, 'download');
  vi.spyOn(h.drivers.disks.work, 'install').mockRejectedValueOnce(new ClusterError('DISK_FULL', 'the pool is full'));
  expect(await move('')).toMatchObject({ reason: 'DISK_FULL' });
  expect(download).not.toHaveBeenCalled();
  expect([await isThere(), (await seen())?.poolId]).toEqual([true, 'pool-1']);
});

describe('a disk that shall rest on its image no more', () => {
  const files = () => h.files().filter((f) => !f.endsWith('.mark'));
  const full = (to: string) => move(to, { full: true });
  beforeEach(async () => {
    await h.ensure(spec());
    await h.parts.store.putPool({ ...h.parts.store.pool('pool-1')!, directIo: true });
  });

  it('has what is in it in another pool, and in the folder of its host, while its vm is off', async () => {
    const anew = vi.spyOn(h.drivers.disks.blocks, 'rewriteFile');
    const backing = h.drivers.disks.imagePath(DIGEST);
    expect(await full('pool-1')).toBeUndefined();
    const was = { path: '/var/lib/berth/volumes/volume-1.qcow2', format: 'qcow2', backing, sizeBytes: 8 * MIB };
    expect(anew).toHaveBeenCalledWith(
      expect.objectContaining(was),
      { format: 'qcow2', base: undefined },
      expect.anything(),
    );
    await finish();
    expect(await seen()).toMatchObject({ poolId: 'pool-1', imageDigest: undefined, sizeBytes: 8 * MIB, vmId: 'vm-1' });
    expect([files(), h.drivers.sim.volumes.has('volume-1')]).toEqual([['volume-1.qcow2'], false]);
    expect(await stored()).toContain('/kvm/fast/volume-1.qcow2');
    await h.operations.run(domains.start, h.id(), ref);
    expect(await running()).not.toContain(backing);
    // it rests on nothing, and goes as it is also while its guest runs
    expect(await full('')).toBeUndefined();
    expect(anew).toHaveBeenCalledTimes(1);
  });

  it('is the only disk of that name in the definition after it was converted there', async () => {
    await full('pool-1');
    await finish();
    const to = { format: 'raw', imageDigest: undefined, ifOther: true } as const;
    await h.parts.disks.work.rewrite('volume-1', to, { signal: new AbortController().signal, onProgress: () => {} });
    await h.operations.run(domains.ensure, h.id(), { ...web, generation: 2 });
    expect((await stored()).match(/[^"]*volume-1\.\w+/g)).toEqual(['/kvm/fast/volume-1.raw']);
    await h.operations.run(domains.start, h.id(), ref);
  });

  it('comes from a pool with the image that it has there', async () => {
    await move('pool-1');
    await finish();
    const anew = vi.spyOn(h.drivers.disks.blocks, 'rewriteFile');
    expect(await full('')).toBeUndefined();
    const was = { path: '/kvm/fast/volume-1.qcow2', backing: h.drivers.disks.imagePath(DIGEST) };
    expect(anew).toHaveBeenCalledWith(expect.objectContaining(was), expect.anything(), expect.anything());
    await finish();
    expect([await seen(), files()]).toMatchObject([{ imageDigest: undefined, vmId: 'vm-1' }, []]);
    expect(h.drivers.sim.volumes.get('volume-1')?.imageDigest).toBeUndefined();
  });

  it.each([
    ['another pool', ''],
    ['the folder of its host', 'pool-1'],
  ])('gets what is in it on its way to %s, under a guest that runs', async (_, from) => {
    const backing = h.drivers.disks.imagePath(DIGEST);
    const to = from === '' ? 'pool-1' : '';
    if (from !== '') expect([await move(from), await finish()]).toMatchObject([undefined, {}]);
    await h.operations.run(domains.start, h.id(), ref);
    expect(await running()).toContain(backing);
    const begin = vi.spyOn(h.drivers.hypervisor.copies, 'begin');
    expect(await full(to)).toBeUndefined();
    expect(begin.mock.calls[0]?.slice(2)).toEqual([expect.stringContaining('<backingStore/>'), { deep: true }]);
    await finish();
    expect([await seen(), (await seen())?.poolId ?? '', (await seen())?.format]).toMatchObject([
      { imageDigest: undefined, vmId: 'vm-1', sizeBytes: 8 * MIB },
      to,
      undefined,
    ]);
    for (const xml of [await running(), await stored()])
      expect([xml.includes(backing), xml.includes(h.parts.disks.volumePath('volume-1', false))]).toEqual([false, true]);
    expect([files(), h.drivers.sim.volumes.has('volume-1')]).toEqual(
      to === '' ? [[], true] : [['volume-1.qcow2'], false],
    );
    if (to === '') expect(h.drivers.sim.volumes.get('volume-1')?.imageDigest).toBeUndefined();
  });

  it('stays on its image where that is given up under a guest, and is copied while that is off when it ends meanwhile', async () => {
    await h.operations.run(domains.start, h.id(), ref);
    const slow = { doneBytes: 1, totalBytes: 2, ready: false };
    const progress = vi.spyOn(h.drivers.hypervisor.copies, 'progress').mockResolvedValue(slow);
    const begun = async () => {
      const id = h.id();
      await h.operations.run(moves.move, id, { volumeId: 'volume-1', to: 'pool-1', full: true });
      await vi.waitFor(async () => expect(await running()).toContain('<mirror'), { timeout: 20_000 });
      return id;
    };
    await h.operations.cancel(await begun());
    expect([files(), await seen(), await running()]).toMatchObject([
      [],
      { imageDigest: DIGEST },
      expect.not.stringContaining('<mirror'),
    ]);
    const anew = vi.spyOn(h.drivers.disks.blocks, 'rewriteFile');
    const id = await begun();
    expect(anew).not.toHaveBeenCalled();
    const { domains: all } = h.drivers.sim;
    all.set(UUID, { ...all.get(UUID)!, power: 'stopped' });
    progress.mockResolvedValue(undefined);
    await vi.waitFor(() => expect(h.operations.get(id).state).not.toBe('running'), { timeout: 20_000, interval: 5 });
    expect([h.operations.get(id).failure, anew.mock.calls.length]).toEqual([undefined, 1]);
    await finish();
    expect([await seen(), files()]).toMatchObject([{ poolId: 'pool-1', imageDigest: undefined }, ['volume-1.qcow2']]);
  });

  it('is not moved so where there is no room, or where other storage is mounted', async () => {
    const { folders } = h.drivers.storage;
    folders.otherBytes = folders.capacityBytes - 10_000;
    expect((await full('pool-1'))?.reason).toBe('DISK_FULL');
    folders.otherBytes = 0;
    expect([files(), await seen()]).toMatchObject([[], { imageDigest: DIGEST }]);
    await h.drivers.storage.removeVolume(poolUuid('pool-1'), 'berth.pool-1.host-h1.mark');
    expect((await full('pool-1'))?.message).toContain('bears no mark');
    expect(await seen()).toMatchObject({ imageDigest: DIGEST });
    expect((await seen())?.poolId).toBeUndefined();
  });

  it('goes back onto its image while that move is not done, and is made anew by the agent after one that was killed', async () => {
    const killed = new ClusterError('HOST_UNREACHABLE', 'it ends');
    vi.spyOn(h.drivers.storage, 'write').mockRejectedValueOnce(killed);
    await full('pool-1');
    await h.open();
    parts();
    expect([await seen(), (await seen())?.poolId]).toMatchObject([{ imageDigest: DIGEST }, undefined]);
    expect(await full('pool-1')).toBeUndefined();
    expect(await seen()).toMatchObject({ poolId: 'pool-1', imageDigest: undefined });
    const started = h.operations.run(domains.start, h.id(), ref);
    await expect(started).rejects.toMatchObject({ reason: 'RESOURCE_BUSY' });
    expect(await move('')).toBeUndefined();
    expect([files(), await seen(), h.parts.store.move('volume-1')]).toMatchObject([
      [],
      { imageDigest: DIGEST },
      undefined,
    ]);
    await h.operations.run(domains.start, h.id(), ref);
  });
});
