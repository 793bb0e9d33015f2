/**
 * Captures of an agent that is killed at any of its calls, before that has done anything or when it has: the next agent ends what was
 * begun, with all disks as they were at one moment, or it is given up and nothing of it stays.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Domains } from '../domain/domains.ts';
import type { DomainSpec } from '../domain/spec.ts';
import { createSimDrivers, type SimDrivers } from '../drivers/sim/sim-drivers.ts';
import { Ledger } from '../operations/ledger.ts';
import { Operations } from '../operations/operations.ts';
import { Kills } from '../testing/kills.ts';
import { Capture, type CaptureWanted } from './capture.ts';
import { Uploads } from './uploads.ts';

const MIB = 2 ** 20;
const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const log = createLog('test', 'silent');
const ref = { uuid: UUID, vmId: 'vm-1' };
const DISKS = ['vda', 'vdb'].map((target) => ({
  target,
  volumeId: `volume-${target}`,
  uploadId: `job-9.copy.${target}`,
}));
const SPEC: DomainSpec = {
  ...{ ...ref, name: 'web', vcpus: 1, memoryBytes: 512 * MIB, nics: [], seedVolumeId: undefined, generation: 1 },
  disks: DISKS.map(({ target, volumeId }) => ({ target, volumeId })),
};
const OP = 'job-9.copy';

class Host {
  readonly drivers: SimDrivers;
  kills = new Kills();
  operations!: Operations;
  capture!: Capture;
  private domains!: Domains;
  private ledger: Ledger | undefined;
  private ops = 0;

  constructor(readonly dir: string) {
    this.drivers = createSimDrivers({ name: 'h1', runDir: dir, clock: systemClock, bootMs: 1 });
  }

  /** The agent, or the one after it. */
  async open(): Promise<void> {
    await this.ledger?.close();
    this.kills = new Kills();
    const { kills, drivers } = this;
    const { hypervisor, disks } = drivers;
    const ledger = (this.ledger = await Ledger.open(this.dir, { clock: systemClock, log }));
    const operations = (this.operations = new Operations(ledger, systemClock, log));
    const abilities = async () => ({ domainType: 'qemu' as const, emulatorPath: '/usr/bin/qemu', directIo: true });
    this.domains = new Domains({
      ...{ hypervisor, disks, operations, hostName: 'h1', bootDir: '/var/lib/berth/boot', log, abilities },
      ...{ means: drivers.means, guestDisks: { unfinished: async () => [] }, mayStart: async () => undefined },
    });
    const uploads = new Uploads(disks, ledger, log, () => false);
    const guest = {
      freeze: () => Promise.reject(badState('no agent answers in this guest')),
      thaw: async () => undefined,
    } as never;
    this.capture = new Capture({
      ...{ domains: this.domains, guest, operations },
      disks: kills.wrap(disks),
      hypervisor: kills.wrap(hypervisor),
      uploads: { keep: (id) => uploads.keep(id) },
    });
  }

  close = async (): Promise<void> => this.ledger?.close();
  private id = (): string => `job-1.${++this.ops}`;

  async ready(power: 'stopped' | 'running', snapshot: boolean): Promise<void> {
    await this.open();
    for (const { volumeId } of DISKS)
      await this.drivers.disks.ensureVolume({ volumeId, vmId: 'vm-1', imageDigest: undefined, sizeBytes: MIB });
    await this.operations.run(this.domains.ensure, this.id(), SPEC);
    if (snapshot) {
      const about = { name: 's1', description: '', disks: DISKS.map((d) => d.target), others: [] };
      await this.drivers.hypervisor.snapshots.create(UUID, about);
    }
    if (power === 'running') await this.operations.run(this.domains.start, this.id(), ref);
    this.kills.calls = 0;
  }

  /** What somebody does by hand while there is no agent: here a disk is what size it has. */
  guestWrites(): void {
    const { volumes } = this.drivers.sim;
    for (const [id, v] of volumes) volumes.set(id, { ...v, sizeBytes: 2 * MIB });
  }

  async ended(): Promise<string> {
    await vi.waitFor(() => expect(this.operations.get(OP).state).not.toBe('running'), { timeout: 20_000, interval: 2 });
    const { state, failure } = this.operations.get(OP);
    return failure ? `${state}: ${failure.message}` : state;
  }

  /** How large each copy says that its disk is: big-endian at byte 24 of a qcow2 file. */
  copies = (): number[] => [...this.drivers.sim.uploads.values()].map((file) => Number(file.readBigUInt64BE(24)));
}

let dir: string | undefined;
let host: Host | undefined;
async function over(): Promise<void> {
  await host?.close();
  host = undefined;
  if (dir !== undefined) await rm(dir, { recursive: true, force: true });
}
afterEach(over);

interface How {
  readonly power: 'stopped' | 'running';
  readonly snapshot?: string;
  readonly after: boolean;
  readonly end: 'goes on' | 'cancelled';
}

/** False: it has no such call. */
async function killed(at: number, { power, snapshot, after, end }: How): Promise<boolean> {
  await over();
  dir = await mkdtemp(join(tmpdir(), 'berth-capture-'));
  const h = (host = new Host(dir));
  await h.ready(power, snapshot !== undefined);
  const dead = h.kills.end.then(() => true as const);
  Object.assign(h.kills, { at, after });
  const wanted: CaptureWanted = { ...ref, disks: DISKS, ...(snapshot !== undefined && { snapshot }) };
  const whole = h.operations
    .run(h.capture.disks, OP, wanted)
    .then(() => h.ended())
    .then((said) => {
      expect(said).toBe('succeeded');
      return false as const;
    });
  whole.catch(() => undefined);
  if (!(await Promise.race([dead, whole]))) return false;
  if (snapshot === undefined) h.guestWrites();
  await h.open();
  const recovered = h.operations.recover();
  if (end === 'cancelled') await h.operations.cancel(OP);
  await recovered;
  // as the controller does, which has heard nothing
  const again = h.operations.run(h.capture.disks, OP, wanted);
  if (end === 'cancelled') await expect(again).rejects.toMatchObject({ reason: 'CANCELLED' });
  else await again;
  expect([at, await h.ended()]).toEqual([at, end === 'cancelled' ? 'cancelled' : 'succeeded']);
  const sizes = h.copies();
  expect([at, sizes.length, new Set(sizes).size]).toEqual(end === 'cancelled' ? [at, 0, 0] : [at, 2, 1]);
  if (snapshot !== undefined)
    for (const file of h.drivers.sim.uploads.values()) expect(file.includes('@s1')).toBe(true);
  return true;
}

it.each([
  ['of a vm that is off', { power: 'stopped' }],
  ['of a vm that runs', { power: 'running' }],
  ['of a snapshot of a vm that runs', { power: 'running', snapshot: 's1' }],
] as const)(
  'a capture %s is of one moment, or leaves nothing, whenever the agent is killed',
  async (_, of) => {
    let kills = 0;
    for (const end of ['goes on', 'cancelled'] as const)
      for (const after of [false, true]) for (let at = 0; await killed(at, { ...of, after, end }); at++) kills++;
    expect(kills).toBeGreaterThanOrEqual(8);
  },
  120_000,
);
