/**
 * A guest that moves to its image while the agent is killed, or libvirt or the disk fails, at any change that is made for it. The files
 * are real, and the guest has one of them open as QEMU has, whatever is done to its names: in the end what it wrote last is under the
 * volume's own name, and there is nothing else.
 */
import { mkdir, mkdtemp, open, readFile, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock, type Clock } from '@berth/shared/runtime/clock.ts';
import { Domains } from '../domain/domains.ts';
import type { DomainSpec } from '../domain/spec.ts';
import { diskChains } from '../domain/xml/chains.ts';
import type { Disks } from '../drivers/disks.ts';
import { beginMove, endMove, finishMove, hasTwoFiles, isMoving, movedPath } from '../drivers/linux/disks/moves.ts';
import { createPool, type Pool } from '../drivers/linux/disks/pool.ts';
import { writeSidecar } from '../drivers/linux/disks/sidecars.ts';
import { createSimDrivers, type SimDrivers } from '../drivers/sim/sim-drivers.ts';
import { Ledger } from '../operations/ledger.ts';
import { Operations } from '../operations/operations.ts';
import { Kills } from '../testing/kills.ts';
import { Bases } from './bases.ts';

const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const ID = 'volume-1';
const IMAGE = `sha256:${'5f'.repeat(32)}`;
const MIB = 2 ** 20;
const log = createLog('test', 'silent');
const ref = { uuid: UUID, vmId: 'vm-1' };
const SPEC: DomainSpec = {
  ...{ ...ref, name: 'web', vcpus: 1, memoryBytes: 512 * MIB, nics: [], seedVolumeId: undefined, generation: 1 },
  disks: [{ target: 'vda', volumeId: ID }],
};
const FASTER = 1_000;
/** Minutes between two tries are nothing. */
const clock: Clock = {
  ...systemClock,
  monotonic: () => systemClock.monotonic() * FASTER,
  after: (ms, fn) => systemClock.after(ms / FASTER, fn),
  sleep: (ms, signal) => systemClock.sleep(ms / FASTER, signal),
};
const WAIT = { timeout: 20_000, interval: 2 };
const CHANGES = ['begin', 'pivot', 'abort', 'define', 'beginMove', 'finishMove', 'endMove', 'endBase'];

class Host {
  readonly drivers: SimDrivers;
  kills = new Kills();
  domains!: Domains;
  operations!: Operations;
  private bases: Bases | undefined;
  private ledger: Ledger | undefined;
  /** What QEMU has open: its disk, and where that is being copied to. */
  private disk: FileHandle | undefined;
  private copyTo: FileHandle | undefined;
  private doing = Promise.resolve();
  private readonly pool: Pool;
  private ops = 0;

  constructor(readonly dir: string) {
    this.drivers = createSimDrivers({ name: 'h1', runDir: dir, clock: systemClock, bootMs: 1 });
    this.pool = createPool(dir);
  }

  own = (): string => this.pool.volumePath(ID, false);
  second = (): string => movedPath(this.pool, ID);

  async ready(): Promise<void> {
    const { sim, disks } = this.drivers;
    sim.filling.set(IMAGE, MIB);
    sim.bases.add(IMAGE);
    await disks.ensureVolume({ volumeId: ID, vmId: 'vm-1', imageDigest: IMAGE, sizeBytes: MIB, instant: true });
    await mkdir(this.pool.volumesDir, { recursive: true });
    await writeSidecar(this.pool, {
      version: 1,
      volumeId: ID,
      vmId: 'vm-1',
      seed: false,
      sizeBytes: MIB,
      imageDigest: IMAGE,
    });
    await writeFile(this.own(), emptyQcow2(MIB, this.pool.imagePath(IMAGE)));
    await this.agent();
    await this.operations.run(this.domains.ensure, this.id(), SPEC);
    await this.start();
    await this.write('first');
    sim.images.set(IMAGE, { digest: IMAGE, virtualSizeBytes: MIB, fileBytes: 1 });
    sim.filling.delete(IMAGE);
    this.kills.calls = 0;
  }

  /** A new one; what there was of another is dead. */
  async agent(): Promise<void> {
    await this.ledger?.close();
    this.kills = new Kills();
    this.ledger = await Ledger.open(this.dir, { clock: systemClock, log });
    this.operations = new Operations(this.ledger, systemClock, log);
    const { drivers, kills } = this;
    const copies = kills.wrap(this.copies(), CHANGES);
    const hypervisor = kills.wrap(
      Object.assign(Object.create(drivers.hypervisor) as SimDrivers['hypervisor'], { copies }),
      CHANGES,
    );
    const disks = kills.wrap(this.disks(), CHANGES);
    const abilities = async () => ({ domainType: 'qemu' as const, emulatorPath: '/usr/bin/qemu', directIo: true });
    const about = { hypervisor, disks, operations: this.operations, means: drivers.means, log, abilities };
    this.domains = new Domains({
      ...about,
      hostName: 'h1',
      bootDir: '/boot',
      guestDisks: { unfinished: async () => [] },
    });
    this.bases = new Bases({ hypervisor, disks, domains: this.domains, clock, log });
  }

  look(): void {
    this.bases!.start();
  }

  async close(): Promise<void> {
    await this.bases?.stop();
    await this.ledger?.close();
    await this.unplug();
  }

  id = (): string => `job-1.${++this.ops}`;

  private disks(): Disks {
    const { pool } = this;
    return {
      ...this.drivers.disks,
      volumePath: (id, seed, format) => pool.volumePath(id, seed, format),
      movedPath: (id) => movedPath(pool, id),
      isMoving: (id) => isMoving(pool, id),
      hasTwoFiles: (id) => hasTwoFiles(pool, id),
      beginMove: (id, guestHas) => beginMove(pool, id, guestHas),
      finishMove: (id) => finishMove(pool, id),
      endMove: (id) => endMove(pool, id),
    };
  }

  /** The simulated ones, which copy what is in the files too. */
  private copies(): SimDrivers['hypervisor']['copies'] {
    const { copies } = this.drivers.hypervisor;
    return {
      progress: (uuid, target) => copies.progress(uuid, target),
      begin: async (uuid, target, destXml) => {
        const to = await open(/<source file="([^"]+)"/.exec(destXml)![1]!, 'r+');
        try {
          await copies.begin(uuid, target, destXml);
          await this.copyTo?.close();
          this.copyTo = to;
        } catch (e) {
          await to.close();
          throw e;
        }
      },
      pivot: async (uuid, target) => {
        await copies.pivot(uuid, target);
        await this.inTurn(async () => {
          await writeWord(this.copyTo!, await wordIn(this.disk!));
          await this.disk!.close();
          [this.disk, this.copyTo] = [this.copyTo, undefined];
        });
      },
      abort: async (uuid, target) => {
        await copies.abort(uuid, target);
        await this.copyTo?.close();
        this.copyTo = undefined;
      },
    };
  }

  async start(): Promise<void> {
    this.drivers.sim.start(UUID);
    await this.unplug();
    this.disk = await open((await this.running())!.file, 'r+');
  }

  write = (word: string): Promise<void> => this.inTurn(() => writeWord(this.disk!, word));

  /** As QEMU does: what is written goes with the copy, or into it. */
  private async inTurn(fn: () => Promise<void>): Promise<void> {
    const before = this.doing;
    this.doing = before.then(fn);
    await this.doing;
  }
  isCopying = (): boolean => this.copyTo !== undefined;

  /** QEMU ends, however it does. */
  async end(how: 'destroy' | 'save'): Promise<void> {
    await this.copies().abort(UUID, 'vda');
    this.drivers.sim[how](UUID);
    await this.unplug();
  }

  private async unplug(): Promise<void> {
    await Promise.all([this.disk?.close(), this.copyTo?.close()]);
    this.disk = this.copyTo = undefined;
  }

  isOn = (): boolean => this.drivers.sim.domains.get(UUID)?.power === 'running';
  running = async () => diskChains(await this.drivers.hypervisor.getRunningXml(UUID))[0];
  stored = async () => diskChains(await this.drivers.hypervisor.getXml(UUID))[0];

  /** Under its own name, for whoever asks, and nothing else. */
  async settled(): Promise<void> {
    await vi.waitFor(async () => {
      expect(await isMoving(this.pool, ID)).toBe(false);
      const names = [await this.stored(), this.isOn() ? await this.running() : undefined];
      for (const d of names) if (d) expect(d).toMatchObject({ file: this.own(), socket: undefined, copying: false });
      expect(this.drivers.sim.bases.has(IMAGE)).toBe(false);
    }, WAIT);
  }

  async word(): Promise<string> {
    return (await readFile(this.own())).subarray(LONG_HEADER).toString();
  }
}

/** Behind all that an empty overlay has. */
const LONG_HEADER = 2 * MIB;
async function wordIn(disk: FileHandle): Promise<string> {
  const { size } = await disk.stat();
  const bytes = Buffer.alloc(Math.max(0, size - LONG_HEADER));
  await disk.read(bytes, 0, bytes.length, LONG_HEADER);
  return bytes.toString();
}

async function writeWord(disk: FileHandle, word: string): Promise<void> {
  await disk.truncate(LONG_HEADER);
  await disk.write(word, LONG_HEADER);
}

let dir: string;
let host: Host | undefined;
async function fresh(): Promise<Host> {
  dir = await mkdtemp(join(tmpdir(), 'berth-base-kills-'));
  host = new Host(dir);
  await host.ready();
  return host;
}
async function over(): Promise<void> {
  await host?.close();
  host = undefined;
  await rm(dir, { recursive: true, force: true });
}
afterEach(over);

/** False: it has no such call. */
async function reaches(h: Host, how: { at: number; after: boolean; failure?: Error }): Promise<boolean> {
  const { kills } = h;
  Object.assign(kills, how);
  h.look();
  await Promise.race([kills.end, h.settled()]);
  if (kills.calls > how.at) return kills.end.then(() => true);
  kills.at = Infinity; // a later look may have one more
  return false;
}

/** What happens on the host while there is no agent, or before the new one looks; gives the word that was written last. */
const ENDS: Record<string, (h: Host) => Promise<void>> = {
  'runs on': async (h) => {
    await h.write('last');
    await h.agent();
  },
  ends: async (h) => {
    await h.write('last');
    await h.end('destroy');
    await h.agent();
  },
  'ends, and is started by hand': async (h) => {
    await h.end('destroy');
    await h.start();
    await h.write('last');
    await h.agent();
  },
  'is defined anew, and ends': async (h) => {
    await h.agent();
    await h.operations.run(h.domains.ensure, h.id(), { ...SPEC, generation: 2, memoryBytes: 256 * MIB });
    await h.write('last');
    await h.end('destroy');
  },
  'is saved, and goes on': async (h) => {
    // libvirt saves none with a copy
    if (!h.isCopying()) await h.end('save');
    await h.agent();
    h.look();
    await vi.waitFor(async () => expect((await h.stored())?.socket).toBeUndefined(), WAIT);
    if (!h.isOn()) await h.start();
    await h.write('last');
  },
};

it.each(Object.keys(ENDS))(
  'a guest that %s after the agent was killed at any change has all that it wrote',
  async (end) => {
    // after one is before the next
    for (let at = 0; ; at++) {
      const h = await fresh();
      const was = await reaches(h, { at, after: false });
      if (was) {
        await ENDS[end]!(h);
        h.look();
        await h.settled();
      }
      const word = [at, await h.word()];
      await over();
      expect(word).toEqual([at, was ? 'last' : 'first']);
      if (!was) break;
    }
  },
  120_000,
);

const FAILURES = [
  new ClusterError('HYPERVISOR_UNAVAILABLE', 'libvirt went away'),
  new ClusterError('DISK_FULL', 'no room'),
];
it.each(FAILURES)(
  'a guest gets there when any change fails with $reason once',
  async (failure) => {
    for (const after of [false, true])
      for (let at = 0; ; at++) {
        const h = await fresh();
        const was = await reaches(h, { at, after, failure });
        if (was) await h.write('last');
        await h.settled();
        const word = [at, after, await h.word()];
        await over();
        expect(word).toEqual([at, after, was ? 'last' : 'first']);
        if (!was) break;
      }
  },
  120_000,
);
