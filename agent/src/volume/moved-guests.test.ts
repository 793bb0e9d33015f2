/**
 * What can be done with a guest whose image came while it ran, over simulated drivers: all that can be done with others, when its disk is
 * under the volume's own name again; until then the words say what to wait for, and nobody takes the wrong one of its two files.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Devices } from '../domain/devices.ts';
import { Domains } from '../domain/domains.ts';
import type { SnapshotRef } from '../domain/snapshot-wanted.ts';
import { Snapshots } from '../domain/snapshots.ts';
import type { DomainSpec } from '../domain/spec.ts';
import { diskChains } from '../domain/xml/chains.ts';
import { createSimDrivers, type SimDrivers } from '../drivers/sim/sim-drivers.ts';
import { Ledger } from '../operations/ledger.ts';
import { Operations } from '../operations/operations.ts';
import { createPoolParts } from '../pool/parts.ts';
import { Bases } from './bases.ts';
import { Capture } from './capture.ts';
import { VolumeMoves } from './moves.ts';
import { VolumeData } from './volume-data.ts';
import { VolumeExports } from './volume-exports.ts';

const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const IMAGE = `sha256:${'5f'.repeat(32)}`;
const MIB = 2 ** 20;
const TIMEOUT = { timeout: 15_000 };
const log = createLog('test', 'silent');
const ref = { uuid: UUID, vmId: 'vm-1' };
const spec: DomainSpec = {
  ...{ ...ref, name: 'web', vcpus: 1, memoryBytes: 512 * MIB, nics: [], seedVolumeId: undefined, generation: 1 },
  disks: [{ target: 'vda', volumeId: 'volume-1' }],
};

let dir: string;
let drivers: SimDrivers;
let ledger: Ledger;
let operations: Operations;
let domains: Domains;
let bases: Bases;
let moves: VolumeMoves;
let snapshots: Snapshots;
let capture: Capture;
let disks: ReturnType<typeof createPoolParts>['disks'];
let data: VolumeData;
let devices: Devices;
let exported: VolumeExports;
let ops = 0;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-moved-'));
  drivers = createSimDrivers({ name: 'h1', runDir: dir, clock: systemClock, bootMs: 1 });
  ledger = await Ledger.open(dir, { clock: systemClock, log });
  operations = new Operations(ledger, systemClock, log);
  const { hypervisor, means } = drivers;
  const about = { operations, clock: systemClock, log };
  const pools = createPoolParts({ ...about, drivers, dataDir: dir, hostId: 'host-1', hostName: 'h1' });
  await pools.store.load();
  ({ disks } = pools);
  domains = new Domains({
    ...{ hypervisor, disks, means, operations, log, hostName: 'h1', bootDir: '/var/lib/berth/boot' },
    guestDisks: { unfinished: async () => [] },
    abilities: async () => ({ domainType: 'qemu', emulatorPath: '/usr/bin/qemu', directIo: false }),
  });
  const parts = { ...about, hypervisor, disks, domains, directIo: async () => false };
  bases = new Bases(parts);
  moves = new VolumeMoves({ ...parts, places: disks.places });
  const guest = { freeze: async () => undefined, thaw: async () => undefined };
  const uploads = { keep: async () => undefined };
  capture = new Capture({ ...parts, guest: guest as never, uploads });
  data = new VolumeData(parts);
  devices = new Devices(parts);
  exported = new VolumeExports({ ...parts, uploads });
  snapshots = new Snapshots({ ...parts, guest: guest as never, mayChange: async () => undefined });
  const source = { type: 'dir' as const, targetPath: '/kvm/1', hosts: [], path: '', name: '', devices: [], format: '' };
  const pool = { poolId: 'pool-1', name: 'p1', source: { ...source, initiator: '', adapter: '', authUser: '' } };
  const wanted = { ...pool, shared: false, autostart: true, generation: 1 };
  await operations.run(pools.pools.ensure, 'job-0.1', { spec: wanted, marked: false, secret: '' });
  drivers.sim.filling.set(IMAGE, MIB);
  drivers.sim.bases.add(IMAGE);
  const volume = { volumeId: 'volume-1', vmId: 'vm-1', imageDigest: IMAGE, sizeBytes: MIB, instant: true };
  await disks.ensureVolume(volume);
  await operations.run(domains.ensure, `job-1.${++ops}`, spec);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await bases.stop();
  await operations.stop();
  await ledger.close();
  await rm(dir, { recursive: true, force: true });
});

const start = () => operations.run(domains.start, `job-1.${++ops}`, ref);
const running = async () => diskChains(await drivers.hypervisor.getRunningXml(UUID))[0]?.file;
const stored = async () => diskChains(await drivers.hypervisor.getXml(UUID))[0];

function arrive(): void {
  drivers.sim.images.set(IMAGE, { digest: IMAGE, virtualSizeBytes: MIB, fileBytes: 1 });
  drivers.sim.filling.delete(IMAGE);
  bases.nudge();
}

async function becomesWhole(): Promise<void> {
  bases.start();
  arrive();
  await vi.waitFor(() => expect(drivers.sim.bases.has(IMAGE)).toBe(false), TIMEOUT);
}

/** There and back. */
async function moved(): Promise<void> {
  await start();
  await becomesWhole();
  expect(await running()).toBe(drivers.disks.volumePath('volume-1', false));
  expect(await drivers.disks.isMoving('volume-1')).toBe(false);
}

/** On its second file, with no room to go back. */
async function halfway(): Promise<void> {
  await start();
  const { beginMove } = disks;
  vi.spyOn(disks, 'beginMove').mockImplementation(async (id, guestHas) => {
    if (guestHas === disks.movedPath(id)) throw new ClusterError('DISK_FULL', 'no room');
    return beginMove(id, guestHas);
  });
  bases.start();
  arrive();
  await vi.waitFor(async () => expect(await running()).toBe(disks.movedPath('volume-1')), TIMEOUT);
}

async function ended(id: string) {
  await vi.waitFor(() => expect(operations.get(id).state).not.toBe('running'), TIMEOUT);
  return operations.get(id);
}

function snapshot(name: string, how = { memory: false, running: true }): Promise<string> {
  const id = `job-2.${++ops}`;
  const wanted: SnapshotRef = { ...ref, name };
  return operations.run(snapshots.create, id, { ...wanted, description: '', ...how }).then(() => id);
}
const names = () => (drivers.sim.snapshots.get(UUID) ?? []).map((s) => s.name);

describe('a guest that moved to the file of its image', () => {
  it('moves on to another pool while it runs', async () => {
    await moved();
    await operations.run(moves.move, 'job-3.1', { volumeId: 'volume-1', to: 'pool-1' });
    expect((await ended('job-3.1')).failure).toBeUndefined();
    expect(await running()).toBe('/kvm/1/volume-1.qcow2');
    expect(await stored()).toMatchObject({ file: '/kvm/1/volume-1.qcow2' });
    await operations.run(moves.finish, 'job-3.2', 'volume-1');
    expect(drivers.sim.volumes.has('volume-1')).toBe(false);
  });

  it('gets snapshots while it runs, with memory and without, goes back to them, and loses them', async () => {
    await moved();
    for (const memory of [true, false])
      expect(await ended(await snapshot(`on-${memory}`, { memory, running: true }))).toMatchObject({
        state: 'succeeded',
      });
    expect(names()).toEqual(['on-true', 'on-false']);
    await operations.run(snapshots.revert, 'job-6.1', { ...ref, name: 'on-true', force: true });
    expect(await ended('job-6.1')).toMatchObject({ state: 'succeeded' });
    expect(await running()).toBe(drivers.disks.volumePath('volume-1', false));
    await operations.run(snapshots.remove, 'job-6.2', { ...ref, name: 'on-true', running: true });
    expect(await ended('job-6.2')).toMatchObject({ state: 'succeeded' });
    expect(names()).toEqual(['on-false']);
  });
});

describe('a guest halfway, on the second file of its disk', () => {
  const busy = { reason: 'RESOURCE_BUSY', message: expect.stringMatching(/Try again in a moment/) as string };

  it('waits with snapshots, resizes and detaches until it is back on the first', async () => {
    await halfway();
    for (const memory of [true, false])
      expect((await ended(await snapshot(`on-${memory}`, { memory, running: true }))).failure).toMatchObject(busy);
    await operations.run(data.resize, 'job-7.1', { volumeId: 'volume-1', sizeBytes: 2 * MIB, shrink: false });
    expect((await ended('job-7.1')).failure).toMatchObject(busy);
    await expect(operations.run(devices.detach, 'job-7.2', { ...ref, device: 'vda' })).rejects.toMatchObject(busy);
    expect(names()).toEqual([]);
  });

  it('keeps its disk when it is defined anew meanwhile, and ends then', async () => {
    await halfway();
    const second = drivers.disks.movedPath('volume-1');
    await operations.run(domains.ensure, 'job-7.3', { ...spec, generation: 2, memoryBytes: 256 * MIB });
    expect(await stored()).toMatchObject({ file: second });
    await bases.stop();
    drivers.sim.moving.set('volume-1', 'two files');
    drivers.sim.destroy(UUID);
    const taken = vi.spyOn(disks, 'finishMove');
    await operations.run(domains.ensure, 'job-7.4', { ...spec, generation: 2, memoryBytes: 256 * MIB });
    expect(taken).toHaveBeenCalledWith('volume-1');
    expect(await stored()).toMatchObject({ file: drivers.disks.volumePath('volume-1', false) });
  });

  it('has no disk that anybody reads or changes when it has ended and nobody has settled which file it is', async () => {
    await halfway();
    await bases.stop();
    drivers.sim.moving.set('volume-1', 'two files');
    drivers.sim.destroy(UUID);
    const volumeId = 'volume-1';
    const upload = { target: 'vda', volumeId, uploadId: 'upload-1' };
    const starts = [
      (id: string) => operations.run(data.resize, id, { volumeId, sizeBytes: 2 * MIB, shrink: false }),
      (id: string) =>
        operations.run(data.rewrite, id, { volumeId, format: 'raw', imageDigest: undefined, ifOther: false }),
      (id: string) => operations.run(data.wipe, id, { volumeId }),
      (id: string) => operations.run(exported.make, id, { volumeId, format: 'qcow2', exportId: 'export-1' }),
      (id: string) => operations.run(capture.disks, id, { ...ref, disks: [upload] }),
      (id: string) => operations.run(moves.move, id, { volumeId, to: 'pool-1' }),
    ];
    for (const [i, begin] of starts.entries()) {
      await begin(`job-8.${i}`);
      expect([i, (await ended(`job-8.${i}`)).failure]).toMatchObject([i, busy]);
    }
    const given = operations.run(data.assign, 'job-8.assign', { volumeId, from: 'vm-1', to: '' });
    await expect(given).rejects.toMatchObject(busy);
    // its domain goes, which alone could tell
    await operations.run(domains.remove, 'job-8.remove', ref);
    expect(await drivers.disks.isMoving(volumeId)).toBe(false);
    await operations.run(data.assign, 'job-8.assign', { volumeId, from: 'vm-1', to: '' });
  });
});

describe('a guest whose image is still coming', () => {
  it('is told so when it runs and a snapshot is wanted, which is waited for', async () => {
    await start();
    const outcome = await ended(await snapshot('now'));
    expect(outcome).toMatchObject({ state: 'failed', failure: { reason: 'RESOURCE_BUSY' } });
    expect(outcome.failure?.message).toMatch(/still coming to this host/);
    await becomesWhole();
    expect(await ended(await snapshot('now'))).toMatchObject({ state: 'succeeded' });
  });

  it('is refused what reads its disk, in words, while it is off; resized it can be while it runs', async () => {
    const volumeId = 'volume-1';
    const resize = { volumeId, sizeBytes: 2 * MIB, shrink: false };
    const starts = [
      (id: string) => operations.run(data.resize, id, resize),
      (id: string) =>
        operations.run(data.rewrite, id, { volumeId, format: 'raw', imageDigest: undefined, ifOther: false }),
      (id: string) => operations.run(exported.make, id, { volumeId, format: 'qcow2', exportId: 'export-1' }),
    ];
    for (const [i, begin] of starts.entries()) {
      await begin(`job-5.${i}`);
      expect((await ended(`job-5.${i}`)).failure).toMatchObject({
        reason: 'BAD_STATE',
        message: expect.stringMatching(/its image is not whole on this host yet/) as string,
      });
    }
    // what takes a refused one back has nothing to do, and is not refused
    const was = { volumeId, format: 'qcow2' as const, imageDigest: IMAGE, ifOther: true };
    await operations.run(data.rewrite, 'job-5.undo', was);
    expect(await ended('job-5.undo')).toMatchObject({ state: 'succeeded' });
    await start();
    await operations.run(data.resize, 'job-5.on', resize);
    expect(await ended('job-5.on')).toMatchObject({ state: 'succeeded' });
  });

  it('gets its snapshot when the image is whole, if it is off, and a cancel before that leaves nothing', async () => {
    const cancelled = await snapshot('never', { memory: false, running: false });
    expect(await ended(cancelled)).toMatchObject({ state: 'failed', failure: { reason: 'RESOURCE_BUSY' } });
    const cleared = vi.spyOn(drivers.hypervisor.snapshots, 'clear');
    expect(await operations.cancel(cancelled)).toMatchObject({ state: 'cancelled' });
    expect(cleared).not.toHaveBeenCalled();
    await becomesWhole();
    expect(await ended(await snapshot('whole', { memory: false, running: false }))).toMatchObject({
      state: 'succeeded',
    });
    expect(names()).toEqual(['whole']);
  });
});

it('is captured when its move has ended, which is waited for', async () => {
  await start();
  const { copies } = drivers.hypervisor;
  await copies.begin(UUID, 'vda', "<disk type='file'><source file='/elsewhere'/></disk>");
  const wanted = { ...ref, disks: [{ target: 'vda', volumeId: 'volume-1', uploadId: 'upload-1' }] };
  await operations.run(capture.disks, 'job-4.1', wanted);
  expect(await ended('job-4.1')).toMatchObject({ state: 'failed', failure: { reason: 'RESOURCE_BUSY' } });
  expect(operations.get('job-4.1').failure?.message).toMatch(/disk vda is just being moved/);
  await copies.abort(UUID, 'vda');
  await operations.run(capture.disks, 'job-4.1', wanted);
  expect(await ended('job-4.1')).toMatchObject({ state: 'succeeded' });
});
