/** Moves between pools over simulated drivers: at any moment one file is the disk, wherever agent, libvirt or guest ended. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import type { PoolSource } from '@berth/shared/model/pool.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Domains } from '../domain/domains.ts';
import type { DomainSpec } from '../domain/spec.ts';
import { diskChains } from '../domain/xml/chains.ts';
import { createSimDrivers, type SimDrivers } from '../drivers/sim/sim-drivers.ts';
import { Ledger } from '../operations/ledger.ts';
import { Operations } from '../operations/operations.ts';
import { createPoolParts } from '../pool/parts.ts';
import { refuseMoving, VolumeMoves } from './moves.ts';

const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const IMAGE = `sha256:${'5f'.repeat(32)}`;
const MIB = 2 ** 20;
const log = createLog('test', 'silent');
const ref = { uuid: UUID, vmId: 'vm-1' };
const spec: DomainSpec = {
  ...{ ...ref, name: 'web', vcpus: 1, memoryBytes: 512 * MIB, nics: [], seedVolumeId: undefined, generation: 1 },
  disks: [{ target: 'vda', volumeId: 'volume-1' }],
};
const source = (targetPath: string): PoolSource => ({
  ...{ type: 'dir', targetPath, hosts: [], path: '', name: '', devices: [] },
  ...{ format: '', initiator: '', adapter: '', authUser: '' },
});
const OWN = '/var/lib/berth/volumes/volume-1.qcow2';

let dir: string;
let drivers: SimDrivers;
let ledger: Ledger;
let operations: Operations;
let parts: ReturnType<typeof createPoolParts>;
let domains: Domains;
let moves: VolumeMoves;
let ops = 0;

/** Also after a restart: what it remembers is on its disk. */
async function open(): Promise<void> {
  await operations?.stop();
  await ledger?.close();
  ledger = await Ledger.open(dir, { clock: systemClock, log });
  operations = new Operations(ledger, systemClock, log);
  const about = { drivers, operations, dataDir: dir, clock: systemClock, log };
  parts = createPoolParts({ ...about, hostId: 'host-1', hostName: 'h1' });
  await parts.store.load();
  const { disks } = parts;
  const abilities = async () => ({ domainType: 'qemu' as const, emulatorPath: '/usr/bin/qemu', directIo: false });
  domains = new Domains({
    ...{ hypervisor: drivers.hypervisor, disks, operations, hostName: 'h1', bootDir: '/var/lib/berth/boot', log },
    ...{ abilities, means: drivers.means, guestDisks: { unfinished: async () => [] } },
    mayStart: (vm) => refuseMoving({ disks, places: disks.places }, vm),
  });
  moves = new VolumeMoves({
    ...{ hypervisor: drivers.hypervisor, disks, places: disks.places, domains, operations, clock: systemClock, log },
    directIo: async () => false,
  });
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-moves-'));
  drivers = createSimDrivers({ name: 'h1', runDir: dir, clock: systemClock, bootMs: 1 });
  operations = undefined as never;
  ledger = undefined as never;
  await open();
  for (const n of ['1', '2']) {
    const pool = { poolId: `pool-${n}`, name: `p${n}`, source: source(`/kvm/${n}`), shared: false };
    const wanted = { spec: { ...pool, autostart: true, generation: 1 }, marked: false, secret: '' };
    await operations.run(parts.pools.ensure, `job-0.${++ops}`, wanted);
  }
  drivers.sim.images.set(IMAGE, { digest: IMAGE, virtualSizeBytes: MIB, fileBytes: 1_000 });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await ledger.close();
  await rm(dir, { recursive: true, force: true });
});

type Kinds = {
  readonly failure?: { readonly reason: string; readonly message: string } | undefined;
  readonly state: string;
};
async function ended(id: string): Promise<Kinds> {
  await vi.waitFor(() => expect(operations.get(id).state).not.toBe('running'), { timeout: 20_000, interval: 5 });
  return operations.get(id);
}
async function move(to: string, id = `job-1.${++ops}`): Promise<Kinds> {
  await operations.run(moves.move, id, { volumeId: 'volume-1', to });
  return ended(id);
}
const finish = () => operations.run(moves.finish, `job-1.${++ops}`, 'volume-1');
const make = (vmId: string, poolId?: string) =>
  parts.disks.ensureVolume({
    ...{ volumeId: 'volume-1', vmId, imageDigest: IMAGE, sizeBytes: MIB },
    ...(poolId !== undefined && { poolId }),
  });
async function guest(on: boolean): Promise<void> {
  await make('vm-1');
  await operations.run(domains.ensure, `job-1.${++ops}`, spec);
  if (on) await operations.run(domains.start, `job-1.${++ops}`, ref);
}
const home = async (): Promise<string> => (await parts.disks.findVolume('volume-1'))?.poolId ?? '';
/** Places that have a file of it. */
function files(): string[] {
  const pools = ['1', '2'].filter((n) => drivers.storage.folders.at(`/kvm/${n}`).has('volume-1.qcow2'));
  return [...(drivers.sim.volumes.has('volume-1') ? [''] : []), ...pools.map((n) => `pool-${n}`)];
}
const stored = async () => diskChains(await drivers.hypervisor.getXml(UUID))[0]?.file;
const running = async () => diskChains(await drivers.hypervisor.getRunningXml(UUID))[0]?.file;

describe('a volume that nobody has', () => {
  it('goes from pool to pool, keeps its former file until the move is finished, and twice is once', async () => {
    await make('');
    let was = '';
    for (const to of ['pool-1', 'pool-2', '']) {
      for (let twice = 0; twice < 2; twice++) {
        expect(await move(to)).toMatchObject({ failure: undefined });
        expect(files()).toEqual([was, to].sort());
      }
      for (let twice = 0; twice < 2; twice++) expect((await finish()).failure).toBeUndefined();
      expect([await home(), files()]).toEqual([to, [to]]);
      await open();
      expect([await home(), (await parts.disks.listVolumes()).length]).toEqual([to, 1]);
      was = to;
    }
  });

  it('is not captured from its former file', async () => {
    await make('');
    await move('pool-1');
    const work = { signal: new AbortController().signal, onProgress: () => undefined };
    const fromLocal = vi.spyOn(drivers.disks, 'captureVolume');
    const fromPool = vi.spyOn(drivers.disks.blocks, 'captureDisk');
    await parts.disks.captureVolume('upload-1', 'volume-1', work);
    expect([fromLocal.mock.calls.length, fromPool.mock.calls.length]).toEqual([0, 1]);
    await move('');
    await parts.disks.captureVolume('upload-2', 'volume-1', work);
    expect([fromLocal.mock.calls.length, fromPool.mock.calls.length]).toEqual([1, 1]);
  });

  it('goes back when that is wanted before its former file is gone', async () => {
    await make('', 'pool-1');
    await move('pool-2');
    expect(await move('pool-1')).toMatchObject({ failure: undefined });
    await finish();
    expect([await home(), files()]).toEqual(['pool-1', ['pool-1']]);
  });

  it('stays where it was when the copy fails, or is cancelled, and nothing is left', async () => {
    await make('');
    vi.spyOn(drivers.storage, 'write').mockRejectedValueOnce(new ClusterError('BAD_STATE', 'a bad pool'));
    expect(await move('pool-1')).toMatchObject({ state: 'failed' });
    expect([await home(), files()]).toEqual(['', ['']]);
    let reached!: () => void;
    const under = new Promise<void>((resolve) => (reached = resolve));
    let go!: () => void;
    vi.spyOn(drivers.storage, 'write').mockImplementationOnce(
      () => (reached(), new Promise((resolve) => (go = resolve))),
    );
    const moved = move('pool-1', 'job-1.c');
    await under;
    const cancelled = operations.cancel('job-1.c');
    await vi.waitFor(() => expect(go).toBeDefined());
    go();
    await Promise.all([cancelled, moved]);
    expect([await home(), files()]).toEqual(['', ['']]);
    expect(await move('pool-9')).toMatchObject({ failure: { reason: 'NOT_FOUND' } });
  });

  it('leaves nothing anywhere when it is removed in the middle of a move', async () => {
    await make('');
    await move('pool-1');
    await parts.disks.removeVolume('volume-1');
    expect(files()).toEqual([]);
    await open();
    expect(parts.store.move('volume-1')).toBeUndefined();
  });
});

describe('a disk of a vm that is off', () => {
  it('is defined where it lies, and its vm cannot start while it is copied', async () => {
    await guest(false);
    const write = drivers.storage.write.bind(drivers.storage);
    let started: unknown;
    vi.spyOn(drivers.storage, 'write').mockImplementationOnce(async (...args) => {
      started = await operations.run(domains.start, `job-1.${++ops}`, ref).catch((e: unknown) => e);
      await write(...args);
    });
    expect(await move('pool-1')).toMatchObject({ failure: undefined });
    expect(started).toMatchObject({ reason: 'RESOURCE_BUSY' });
    expect(await stored()).toBe('/kvm/1/volume-1.qcow2');
    await finish();
    await operations.run(domains.start, `job-1.${++ops}`, ref);
    expect([await running(), files()]).toEqual(['/kvm/1/volume-1.qcow2', ['pool-1']]);
  });

  const killedBeforeItWasDefined = async (id: string): Promise<void> => {
    await guest(false);
    let reached!: () => void;
    const under = new Promise<void>((resolve) => (reached = resolve));
    const restate = vi
      .spyOn(domains, 'restate')
      .mockImplementationOnce(() => (reached(), new Promise(() => undefined)));
    void operations.run(moves.move, id, { volumeId: 'volume-1', to: 'pool-1' });
    await under;
    restate.mockRestore();
    operations = undefined as never; // it ends there
    await open();
  };
  const recovered = async (id: string) => (await operations.recover(), ended(id));

  it('is defined where it lies also by the agent after one that was killed before it had done so', async () => {
    await killedBeforeItWasDefined('job-1.k');
    expect([await home(), await stored()]).toEqual(['pool-1', OWN]);
    expect(await recovered('job-1.k')).toMatchObject({ failure: undefined });
    expect(await stored()).toBe('/kvm/1/volume-1.qcow2');
  });

  it('is what its guest wrote last when that was started by hand before it was defined there', async () => {
    await killedBeforeItWasDefined('job-1.k');
    await drivers.hypervisor.start(UUID);
    expect(await running()).toBe(OWN);
    expect(await recovered('job-1.k')).toMatchObject({ failure: undefined });
    await finish();
    const there = '/kvm/1/volume-1.qcow2';
    expect([await home(), await running(), await stored(), files()]).toEqual(['pool-1', there, there, ['pool-1']]);
  });

  it('stays where it was when somebody starts the vm by hand meanwhile: what the guest wrote is there', async () => {
    await guest(false);
    const write = drivers.storage.write.bind(drivers.storage);
    vi.spyOn(drivers.storage, 'write').mockImplementationOnce(async (...args) => {
      await write(...args);
      await drivers.hypervisor.start(UUID);
    });
    expect(await move('pool-1')).toMatchObject({ failure: { reason: 'IN_USE' } });
    expect([await home(), files(), await running(), await stored()]).toEqual(['', [''], OWN, OWN]);
  });
});

describe('a disk of a guest that runs', () => {
  it('is mirrored, and the guest changes over to it', async () => {
    await guest(true);
    expect(await move('pool-1')).toMatchObject({ failure: undefined });
    const there = '/kvm/1/volume-1.qcow2';
    expect([await running(), await stored(), await home()]).toEqual([there, there, 'pool-1']);
    expect(files()).toEqual(['', 'pool-1']);
    await finish();
    expect(files()).toEqual(['pool-1']);
    expect(await move('')).toMatchObject({ failure: undefined });
    await finish();
    expect([await running(), await stored(), files()]).toEqual([OWN, OWN, ['']]);
  });

  it('waits while its guest moves to its image, which came while it ran: that has two files already', async () => {
    await guest(true);
    const begun = await parts.disks.beginMove('volume-1', OWN);
    expect(await move('pool-1')).toMatchObject({ failure: { reason: 'RESOURCE_BUSY' } });
    expect([await running(), files()]).toEqual([OWN, ['']]);
    expect(begun).toBe(parts.disks.movedPath('volume-1'));
    await parts.disks.endMove('volume-1');
    expect(await move('pool-1')).toMatchObject({ failure: undefined });
  });

  /** The calls at which agent or libvirt may end: before they have done anything, or when their answer is on its way. */
  const STEPS = ['begin', 'progress', 'pivot', 'change', 'restate'] as const;
  it.each(STEPS.flatMap((step) => [[step, 'before'] as const, [step, 'after'] as const]))(
    'is where its guest writes when libvirt is away at %s, %s it was done, and gets there in the end',
    async (step, when) => {
      await guest(true);
      const { copies } = drivers.hypervisor;
      const of: Record<string, unknown> = { change: parts.disks.places, restate: domains };
      const owner = (of[step] ?? copies) as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
      const call = owner[step]!;
      const away = new ClusterError('HYPERVISOR_UNAVAILABLE', 'libvirt went away');
      vi.spyOn(owner, step).mockImplementationOnce((async (...args: unknown[]) => {
        if (when === 'after') await call.apply(owner, args);
        throw away;
      }) as never);
      const id = `job-1.${++ops}`;
      expect(await move('pool-1', id)).toMatchObject({
        state: 'failed',
        failure: { reason: 'HYPERVISOR_UNAVAILABLE' },
      });
      const writes = await running();
      expect(files()).toContain(writes === OWN ? '' : 'pool-1');
      await open();
      expect(await move('pool-1', id)).toMatchObject({ failure: undefined });
      await finish();
      expect([await running(), await stored(), await home(), files()]).toEqual([
        ...['/kvm/1/volume-1.qcow2', '/kvm/1/volume-1.qcow2', 'pool-1'],
        ['pool-1'],
      ]);
    },
  );

  it.each(
    (['begin', 'progress', 'pivot'] as const).flatMap((step) => [[step, 'before'] as const, [step, 'after'] as const]),
  )('that ends at %s, %s it was done, is what its guest wrote last', async (step, when) => {
    await guest(true);
    const { copies } = drivers.hypervisor;
    const call = copies[step].bind(copies) as (...args: unknown[]) => Promise<unknown>;
    vi.spyOn(copies, step).mockImplementationOnce((async (...args: unknown[]) => {
      if (when === 'after') await call(...args);
      await drivers.hypervisor.destroy(UUID);
      throw new ClusterError('BAD_STATE', 'the domain is not running');
    }) as never);
    const last = step === 'pivot' && when === 'after' ? 'pool-1' : '';
    expect(await move('pool-1')).toMatchObject({ state: 'failed' });
    expect([await home(), await stored()]).toEqual([last, last === '' ? OWN : '/kvm/1/volume-1.qcow2']);
    expect(await move('pool-1')).toMatchObject({ failure: undefined });
    await finish();
    expect([await stored(), files()]).toEqual(['/kvm/1/volume-1.qcow2', ['pool-1']]);
  });

  it('is defined where it lies before its former file goes, though libvirt ended before it had done so', async () => {
    await guest(true);
    const before = await drivers.hypervisor.getXml(UUID);
    await move('pool-1');
    await drivers.hypervisor.define(before);
    expect([await running(), await stored()]).toEqual(['/kvm/1/volume-1.qcow2', OWN]);
    await finish();
    expect([await stored(), files()]).toEqual(['/kvm/1/volume-1.qcow2', ['pool-1']]);
  });

  it('goes on with the mirror that an agent before it had begun', async () => {
    await guest(true);
    const { copies } = drivers.hypervisor;
    const id = `job-1.${++ops}`;
    vi.spyOn(copies, 'progress').mockRejectedValueOnce(new ClusterError('HYPERVISOR_UNAVAILABLE', 'away'));
    await move('pool-1', id);
    const begun = vi.spyOn(copies, 'begin');
    await open();
    expect(await move('pool-1', id)).toMatchObject({ failure: undefined });
    expect(begun).not.toHaveBeenCalled();
  });

  it('stays where it was when the move is cancelled, or its mirror breaks, and leaves the copy of somebody else alone', async () => {
    await guest(true);
    const { copies } = drivers.hypervisor;
    vi.spyOn(copies, 'progress').mockImplementationOnce(async () => ({ doneBytes: 1, totalBytes: 2, ready: false }));
    vi.spyOn(systemClock, 'sleep').mockImplementationOnce(
      async () => void operations.cancel('job-1.x').catch(() => undefined),
    );
    expect(await move('pool-1', 'job-1.x')).toMatchObject({ state: 'cancelled' });
    expect([await home(), files(), await running()]).toEqual(['', [''], OWN]);
    vi.spyOn(copies, 'progress').mockImplementationOnce(
      async (uuid, target) => (await copies.abort(uuid, target), undefined),
    );
    expect((await move('pool-1')).failure?.message).toMatch(/ended before its time/);
    expect([await home(), files()]).toEqual(['', ['']]);
    await copies.begin(UUID, 'vda', '<disk><source file="/elsewhere"/><backingStore/></disk>');
    expect((await move('pool-1')).failure?.reason).toBe('RESOURCE_BUSY');
    expect(diskChains(await drivers.hypervisor.getRunningXml(UUID))[0]).toMatchObject({ copyTo: '/elsewhere' });
  });
});
