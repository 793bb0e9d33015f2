import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Domains } from '../domain/domains.ts';
import type { DomainSpec } from '../domain/spec.ts';
import { diskChains } from '../domain/xml/chains.ts';
import { createSimDrivers, type SimDrivers } from '../drivers/sim/sim-drivers.ts';
import { Ledger } from '../operations/ledger.ts';
import { Operations } from '../operations/operations.ts';
import { Bases } from './bases.ts';

const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const IMAGE = `sha256:${'5f'.repeat(32)}`;
const MIB = 2 ** 20;
const ref = { uuid: UUID, vmId: 'vm-1' };
const spec: DomainSpec = {
  ...{ ...ref, name: 'web', vcpus: 1, memoryBytes: 512 * MIB, nics: [], seedVolumeId: undefined, generation: 1 },
  disks: [{ target: 'vda', volumeId: 'volume-1' }],
};
const log = createLog('test', 'silent');

describe('a guest on an image that is not whole yet', () => {
  let dir: string;
  let drivers: SimDrivers;
  let domains: Domains;
  let bases: Bases;
  let another: () => Bases;
  let ledger: Ledger;
  let count = 0;
  const abilities = async () => ({ domainType: 'qemu' as const, emulatorPath: '/usr/bin/qemu', directIo: true });

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'berth-bases-'));
    drivers = createSimDrivers({ name: 'h1', runDir: dir, clock: systemClock, bootMs: 1 });
    ledger = await Ledger.open(dir, { clock: systemClock, log });
    const operations = new Operations(ledger, systemClock, log);
    const { hypervisor, disks, means } = drivers;
    const guestDisks = { unfinished: async () => [] };
    const host = { guestDisks, ...{ hostName: 'h1', bootDir: '/var/lib/berth/boot', log, abilities }, means };
    domains = new Domains({ hypervisor, disks, operations, ...host });
    another = () => new Bases({ hypervisor, disks, domains, clock: systemClock, log });
    bases = another();
    drivers.sim.filling.set(IMAGE, MIB);
    drivers.sim.bases.add(IMAGE);
    const volume = { volumeId: 'volume-1', vmId: 'vm-1', imageDigest: IMAGE, sizeBytes: MIB, instant: true };
    await disks.ensureVolume(volume);
    await operations.run(domains.ensure, `job-1.${++count}`, spec);
    run = async () => void (await operations.run(domains.start, `job-1.${++count}`, ref));
    second = async (of) => {
      const target = { target: 'vda', volumeId: 'volume-2' };
      await disks.ensureVolume({ ...volume, volumeId: target.volumeId, vmId: of.vmId });
      await operations.run(domains.ensure, `job-1.${++count}`, { ...spec, ...of, name: 'db', disks: [target] });
      await operations.run(domains.start, `job-1.${++count}`, of);
    };
    ensure = async () => void (await operations.run(domains.ensure, `job-1.${++count}`, spec));
  });
  afterEach(async () => {
    await bases.stop();
    await ledger.close();
    await rm(dir, { recursive: true, force: true });
  });
  let run: () => Promise<void>;
  let ensure: () => Promise<void>;
  let second: (of: { uuid: string; vmId: string }) => Promise<void>;

  const stored = async () => diskChains(await drivers.hypervisor.getXml(UUID))[0];
  const running = async () => diskChains(await drivers.hypervisor.getRunningXml(UUID))[0];
  const power = () => drivers.sim.domains.get(UUID)?.power;
  const own = (): string => drivers.disks.volumePath('volume-1', false);

  function becomesWhole(): void {
    drivers.sim.images.set(IMAGE, { digest: IMAGE, virtualSizeBytes: MIB, fileBytes: 1 });
    drivers.sim.filling.delete(IMAGE);
    bases.nudge();
  }

  it('reads it through a socket, and moves to the file while it runs when it is whole', async () => {
    expect(await stored()).toMatchObject({
      target: 'vda',
      file: own(),
      socket: drivers.disks.baseSocket(IMAGE),
      copying: false,
    });
    await run();
    bases.start();
    becomesWhole();
    await vi.waitFor(() => expect(drivers.sim.bases.has(IMAGE)).toBe(false));
    expect(await running()).toMatchObject({ target: 'vda', file: own(), copying: false, socket: undefined });
    expect(await drivers.disks.isMoving('volume-1')).toBe(false);
    expect(await stored()).toMatchObject({ file: own(), socket: undefined });
    expect(power()).toBe('running');
  });

  it('is defined over the file when it is off, so that whoever starts it finds what it needs', async () => {
    bases.start();
    becomesWhole();
    await vi.waitFor(() => expect(drivers.sim.bases.has(IMAGE)).toBe(false));
    expect(await stored()).toMatchObject({ file: own(), socket: undefined });
  });

  it('starts on the file when the image was whole before anybody saw its definition', async () => {
    becomesWhole();
    drivers.sim.bases.delete(IMAGE); // as of one that nobody rested on
    expect(await stored()).toMatchObject({ socket: drivers.disks.baseSocket(IMAGE) });
    await run();
    expect(await running()).toMatchObject({ file: own(), socket: undefined });
  });

  it('is not left alone when it was started while the image became whole', async () => {
    await run();
    vi.spyOn(drivers.hypervisor, 'list').mockImplementationOnce(async () => []);
    bases.start();
    becomesWhole();
    await vi.waitFor(async () => expect(await running()).toMatchObject({ socket: undefined }), { timeout: 10_000 });
    expect(power()).toBe('running');
  });

  it('stays on the socket while the image fills, also over a new definition', async () => {
    bases.start();
    await ensure();
    expect(await stored()).toMatchObject({ socket: drivers.disks.baseSocket(IMAGE) });
    expect(drivers.sim.bases.has(IMAGE)).toBe(true);
  });

  it('goes on when it was paused for what nobody gave, and is left paused when somebody suspended it', async () => {
    await run();
    const domain = drivers.sim.domains.get(UUID)!;
    drivers.sim.domains.set(UUID, { ...domain, power: 'paused', reason: 'io-error' });
    bases.start();
    becomesWhole();
    await vi.waitFor(() => expect(power()).toBe('running'));
    drivers.sim.domains.set(UUID, { ...domain, power: 'paused', reason: 'user' });
    drivers.sim.bases.add(IMAGE);
    bases.nudge();
    await vi.waitFor(() => expect(drivers.sim.bases.has(IMAGE)).toBe(false));
    expect(power()).toBe('paused');
  });

  it('is started again when its socket changed hands in just that moment; what keeps failing is not tried for ever', async () => {
    const { start } = drivers.hypervisor;
    const refused = new ClusterError('INTERNAL', "Failed to connect to '/run/base': Connection refused");
    const started = vi.spyOn(drivers.hypervisor, 'start').mockRejectedValueOnce(refused);
    await run();
    expect([power(), started.mock.calls.length]).toEqual(['running', 2]);
    drivers.sim.destroy(UUID);
    becomesWhole();
    started.mockClear().mockRejectedValueOnce(refused).mockImplementation(start);
    await run();
    expect([power(), started.mock.calls.length]).toEqual(['stopped', 1]);
  });

  it('keeps what a saved guest reads, and moves it when it goes on', async () => {
    await run();
    drivers.sim.save(UUID);
    bases.start();
    const ended = vi.spyOn(drivers.disks, 'endBase');
    becomesWhole();
    await vi.waitFor(async () => expect(await stored()).toMatchObject({ socket: undefined }));
    const opened = vi.spyOn(drivers.disks, 'openBase');
    expect(ended).not.toHaveBeenCalled();
    await run();
    expect(opened).toHaveBeenCalledWith(IMAGE);
    await vi.waitFor(async () => expect(await running()).toMatchObject({ socket: undefined }), { timeout: 10_000 });
    await vi.waitFor(() => expect(drivers.sim.bases.has(IMAGE)).toBe(false), { timeout: 10_000 });
  });

  it('keeps the file that a guest had moved to before it was saved, which goes on by it, and then back to its own', async () => {
    await run();
    // between the two moves
    vi.spyOn(drivers.disks, 'beginMove').mockImplementation(async (id, guestHas) => {
      if (guestHas !== own()) throw new ClusterError('DISK_FULL', 'no room');
      drivers.sim.moving.set(id, 'two files');
      return drivers.disks.movedPath(id);
    });
    bases.start();
    becomesWhole();
    const second = drivers.disks.movedPath('volume-1');
    await vi.waitFor(async () => expect(await running()).toMatchObject({ file: second, socket: undefined }));
    await vi.waitFor(() => expect(drivers.sim.moving.get('volume-1')).toBe('two names'));
    drivers.sim.save(UUID);
    await bases.stop();
    vi.restoreAllMocks();
    bases = another();
    bases.start();
    // what it goes on with names no socket
    await vi.waitFor(() => expect(drivers.sim.bases.has(IMAGE)).toBe(false), { timeout: 10_000 });
    expect(await drivers.disks.isMoving('volume-1')).toBe(true);
    const { beginMove } = drivers.disks;
    let storedThen: string | undefined;
    vi.spyOn(drivers.disks, 'beginMove').mockImplementation(async (id, guestHas) => {
      storedThen = (await stored())?.file;
      return beginMove(id, guestHas);
    });
    await run();
    await vi.waitFor(async () => expect(await running()).toMatchObject({ file: own() }), { timeout: 10_000 });
    // if it had ended from there on
    expect(storedThen).toBe(second);
    await vi.waitFor(async () => expect(await drivers.disks.isMoving('volume-1')).toBe(false), { timeout: 10_000 });
    expect(await stored()).toMatchObject({ file: own(), socket: undefined });
  });

  it('keeps that file until what was saved is given up', async () => {
    await run();
    drivers.sim.moving.set('volume-1', 'two names');
    drivers.sim.save(UUID);
    await ensure();
    expect(await drivers.disks.isMoving('volume-1')).toBe(true);
    drivers.sim.discardSaved(UUID);
    await ensure();
    expect(await drivers.disks.isMoving('volume-1')).toBe(false);
  });

  it('tries a move without room again after minutes only, gives the half copy up, and does not hold up others', async () => {
    const other = { uuid: UUID.replace('6f', '7f'), vmId: 'vm-2' };
    await second(other);
    await run();
    const full = new ClusterError('DISK_FULL', 'no room');
    const { beginMove } = drivers.disks;
    const begun = vi.spyOn(drivers.disks, 'beginMove').mockImplementation(async (id, guestHas) => {
      if (id === 'volume-1') throw full;
      return beginMove(id, guestHas);
    });
    const ended = vi.spyOn(drivers.disks, 'endMove');
    bases.start();
    becomesWhole();
    await vi.waitFor(() => expect(ended).toHaveBeenCalledWith('volume-1'), { timeout: 10_000 });
    const moved = async () => diskChains(await drivers.hypervisor.getRunningXml(other.uuid))[0];
    await vi.waitFor(async () => expect(await moved()).toMatchObject({ socket: undefined }), { timeout: 10_000 });
    const seen = vi.spyOn(drivers.disks, 'listVolumes');
    for (let round = 1; round <= 3; round++) {
      bases.nudge();
      await vi.waitFor(() => expect(seen).toHaveBeenCalledTimes(round), { timeout: 10_000 });
    }
    expect(begun.mock.calls.filter(([id]) => id === 'volume-1')).toHaveLength(1);
    expect(drivers.sim.bases.has(IMAGE)).toBe(true);
  });

  it('is looked after also while the copy of another takes long', async () => {
    const other = { uuid: UUID.replace('6f', '7f'), vmId: 'vm-2' };
    await second(other);
    await run();
    const { progress } = drivers.hypervisor.copies;
    let isReady = false;
    vi.spyOn(drivers.hypervisor.copies, 'progress').mockImplementation(async (uuid, target) =>
      uuid === UUID && !isReady ? { doneBytes: 0, totalBytes: 1, ready: false } : progress(uuid, target),
    );
    bases.start();
    becomesWhole();
    const moved = async () => diskChains(await drivers.hypervisor.getRunningXml(other.uuid))[0];
    await vi.waitFor(async () => expect(await moved()).toMatchObject({ socket: undefined }), { timeout: 10_000 });
    expect(await running()).not.toMatchObject({ socket: undefined });
    isReady = true;
    await vi.waitFor(() => expect(drivers.sim.bases.has(IMAGE)).toBe(false), { timeout: 10_000 });
  });

  it('hears what happens while it looks around', async () => {
    await run();
    vi.spyOn(drivers.disks, 'listVolumes').mockImplementationOnce(async () => {
      becomesWhole();
      await systemClock.sleep(50);
      return []; // as it was before
    });
    bases.start();
    await vi.waitFor(async () => expect(await running()).toMatchObject({ socket: undefined }), { timeout: 10_000 });
  });
});
