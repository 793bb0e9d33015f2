/**
 * Moves of an agent that is killed at any of its calls, before that has done anything or when it has: the next agent goes on with the
 * move, or it is given up. Either way there is one file in the end, where the record and the definition say.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Domains } from '../domain/domains.ts';
import type { DomainSpec } from '../domain/spec.ts';
import { diskChains } from '../domain/xml/chains.ts';
import { createSimDrivers, type SimDrivers } from '../drivers/sim/sim-drivers.ts';
import { Ledger } from '../operations/ledger.ts';
import { Operations } from '../operations/operations.ts';
import { createPoolParts } from '../pool/parts.ts';
import { Kills } from '../testing/kills.ts';
import { source } from '../testing/pool-host.ts';
import { refuseMoving, VolumeMoves } from './moves.ts';

const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const IMAGE = `sha256:${'5f'.repeat(32)}`;
const MIB = 2 ** 20;
const log = createLog('test', 'silent');
const ref = { uuid: UUID, vmId: 'vm-1' };
const SPEC: DomainSpec = {
  ...{ ...ref, name: 'web', vcpus: 1, memoryBytes: 512 * MIB, nics: [], seedVolumeId: undefined, generation: 1 },
  disks: [{ target: 'vda', volumeId: 'volume-1' }],
};

/** A pool without files. */
const LVM = { ...source('/dev/vg0'), type: 'logical' as const, name: 'vg0' };
async function* zeros(): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(MIB);
}

class Host {
  readonly drivers: SimDrivers;
  /** Every call that changes or asks anything outside the agent's memory. */
  kills = new Kills();
  operations!: Operations;
  parts!: ReturnType<typeof createPoolParts>;
  domains!: Domains;
  moves!: VolumeMoves;
  private ledger: Ledger | undefined;
  private ops = 0;

  constructor(readonly dir: string) {
    this.drivers = createSimDrivers({ name: 'h1', runDir: dir, clock: systemClock, bootMs: 1 });
  }

  async open(): Promise<void> {
    await this.ledger?.close();
    this.kills = new Kills();
    const { kills, drivers, dir } = this;
    this.ledger = await Ledger.open(dir, { clock: systemClock, log });
    const operations = (this.operations = new Operations(this.ledger, systemClock, log));
    const { hypervisor, storage, disks: own } = drivers;
    const killed: SimDrivers = {
      ...drivers,
      storage: kills.wrap(storage),
      disks: {
        ...own,
        work: kills.wrap(own.work),
        // as long as the disk, wherever it is read
        blocks: kills.wrap({ ...own.blocks, readVolume: zeros, readFile: zeros, readIn: zeros }),
        ensureVolume: kills.wrap(own).ensureVolume,
        removeVolume: kills.wrap(own).removeVolume,
      },
    };
    this.parts = createPoolParts({
      ...{ drivers: killed, operations, dataDir: dir, clock: systemClock, log, hostId: 'host-1', hostName: 'h1' },
    });
    const { store, disks } = this.parts;
    await store.load();
    for (const name of ['putMove', 'putVolume', 'dropVolume', 'dropMove'] as const) {
      const call = (store[name] as (x: never) => Promise<void>).bind(store);
      vi.spyOn(store, name).mockImplementation(((x: never) => kills.wrap({ call }).call(x)) as never);
    }
    const seen = Object.assign(Object.create(hypervisor) as typeof hypervisor, {
      copies: kills.wrap(hypervisor.copies),
    });
    seen.define = (xml) => kills.wrap({ define: () => hypervisor.define(xml) }).define();
    const abilities = async () => ({ domainType: 'qemu' as const, emulatorPath: '/usr/bin/qemu', directIo: true });
    this.domains = new Domains({
      ...{ hypervisor: seen, disks, operations, hostName: 'h1', bootDir: '/var/lib/berth/boot', log, abilities },
      ...{ means: drivers.means, guestDisks: { unfinished: async () => [] } },
      mayStart: (vm) => refuseMoving({ disks, places: disks.places }, vm),
    });
    const about = { hypervisor: seen, disks, places: disks.places, domains: this.domains, clock: systemClock, log };
    this.moves = new VolumeMoves({ ...about, operations, directIo: async () => true });
  }

  close = async (): Promise<void> => this.ledger?.close();
  id = (): string => `job-1.${++this.ops}`;

  async ready(from: string, guest: 'none' | 'off' | 'on'): Promise<void> {
    await this.open();
    for (const n of ['1', '2', 'lvm']) {
      const pool = {
        poolId: `pool-${n}`,
        name: `p${n}`,
        source: n === 'lvm' ? LVM : source(`/kvm/${n}`),
        shared: false,
      };
      const wanted = { spec: { ...pool, autostart: true, generation: 1 }, marked: false, secret: '' };
      await this.operations.run(this.parts.pools.ensure, this.id(), wanted);
      const { store } = this.parts;
      await store.putPool({ ...store.pool(pool.poolId)!, directIo: true });
    }
    this.drivers.sim.images.set(IMAGE, { digest: IMAGE, virtualSizeBytes: MIB, fileBytes: 1_000 });
    const volume = { volumeId: 'volume-1', vmId: guest === 'none' ? '' : 'vm-1', imageDigest: IMAGE, sizeBytes: MIB };
    const block = from === 'pool-lvm' && { format: 'raw' as const };
    const wanted = { ...volume, ...(from !== '' && { poolId: from }), ...block };
    const work = { signal: new AbortController().signal, onProgress: () => undefined };
    await (block ? this.parts.disks.ensureBlockVolume(wanted, work) : this.parts.disks.ensureVolume(wanted));
    if (guest !== 'none') await this.operations.run(this.domains.ensure, this.id(), SPEC);
    if (guest === 'on') await this.operations.run(this.domains.start, this.id(), ref);
    this.kills.calls = 0;
  }

  async ended(id: string): Promise<string> {
    await vi.waitFor(() => expect(this.operations.get(id).state).not.toBe('running'), { timeout: 20_000, interval: 2 });
    const { state, failure } = this.operations.get(id);
    return failure ? `${state}: ${failure.message}` : state;
  }

  /** Where its record, its files, its stored definition and its guest say that it lies. */
  async says(guest: string): Promise<unknown[]> {
    const { disks, store } = this.parts;
    const volume = await disks.findVolume('volume-1');
    const { folders } = this.drivers.storage;
    const has = (n: string): boolean =>
      [...folders.at(`/kvm/${n}`).keys()].some((name) => name.startsWith('volume-1.'));
    const pools = ['1', '2'].filter(has).map((n) => `pool-${n}`);
    const device = folders.at('/dev/vg0').has('volume-1') ? ['pool-lvm'] : [];
    const files = [...(this.drivers.sim.volumes.has('volume-1') ? [''] : []), ...pools, ...device];
    const { hypervisor } = this.drivers;
    const file = (xml: string) => placeOf(diskChains(xml)[0]?.file);
    return [
      ...[volume?.poolId ?? '', files, store.move('volume-1')],
      guest === 'none' ? undefined : file(await hypervisor.getXml(UUID)),
      guest === 'on' ? file(await hypervisor.getRunningXml(UUID)) : undefined,
    ];
  }
}

const placeOf = (path = ''): string =>
  path
    .replace(/^\/var\/lib\/berth\/volumes\/volume-1\.(qcow2|raw)$/, '')
    .replace(/^\/kvm\/(\d)\/volume-1\.(qcow2|raw)$/, 'pool-$1')
    .replace('/dev/vg0/volume-1', 'pool-lvm');

let dir: string;
let host: Host | undefined;
async function fresh(): Promise<Host> {
  dir = await mkdtemp(join(tmpdir(), 'berth-kills-'));
  return (host = new Host(dir));
}
async function over(): Promise<void> {
  vi.restoreAllMocks();
  await host?.close();
  host = undefined;
  await rm(dir, { recursive: true, force: true });
}
afterEach(over);

/** False: it has no such call. */
async function killed(
  at: number,
  how: {
    from: string;
    to: string;
    guest: 'none' | 'off' | 'on';
    after: boolean;
    end: 'goes on' | 'cancelled' | 'given up';
  },
): Promise<boolean> {
  const { from, to, guest, after, end } = how;
  const h = await fresh();
  await h.ready(from, guest);
  const dead = h.kills.end.then(() => true as const);
  Object.assign(h.kills, { at, after });
  const wanted = { volumeId: 'volume-1', to };
  const whole = (async () => {
    await h.operations.run(h.moves.move, 'job-9.move', wanted);
    await h.ended('job-9.move');
    await h.operations.run(h.moves.finish, 'job-9.finish', 'volume-1');
    return false as const;
  })();
  whole.catch(() => undefined);
  const was = await Promise.race([dead, whole]);
  if (!was) return false;
  await h.open();
  const before = h.operations.recover();
  if (end === 'cancelled') await h.operations.cancel('job-9.move').catch(() => undefined);
  await before;
  const def = (place: string) => (guest === 'none' ? undefined : place);
  // as the controller does: to go on, or to undo it
  const place = end === 'goes on' ? to : from;
  const id = end === 'goes on' ? 'job-9.move' : 'job-9.back';
  await h.operations.run(h.moves.move, id, { volumeId: 'volume-1', to: place });
  expect([at, await h.ended(id), (await h.says(guest))[3]]).toEqual([at, 'succeeded', def(place)]);
  await h.operations.run(h.moves.finish, 'job-9.end', 'volume-1');
  expect([at, ...(await h.says(guest))]).toEqual([
    at,
    place,
    [place],
    undefined,
    def(place),
    guest === 'on' ? place : undefined,
  ]);
  return true;
}

const WAYS = [
  ['none', '', 'pool-1', 'given up'],
  ['off', '', 'pool-1', 'goes on'],
  ['off', 'pool-1', '', 'cancelled'],
  ['on', '', 'pool-1', 'goes on'],
  ['on', 'pool-1', '', 'given up'],
  ['off', '', 'pool-lvm', 'given up'],
  ['on', '', 'pool-lvm', 'goes on'],
  ['on', 'pool-1', 'pool-lvm', 'cancelled'],
  ['on', 'pool-lvm', '', 'goes on'],
] as const;

it.each(WAYS)(
  'a disk of a guest that is %s, from %j to %j, %s after a kill at any call, and there is one of it',
  async (guest, from, to, end) => {
    for (const after of [false, true]) {
      for (let at = 0; await killed(at, { from, to, guest, after, end }); at++) await over();
      await over();
    }
  },
  120_000,
);
