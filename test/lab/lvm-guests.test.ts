/**
 * Guests on logical volumes: the agent's own parts, with a real QEMU in a guest whose kernel knows LVM. A guest boots from such a volume
 * and writes to it all the time; meanwhile it grows, and moves between two volume groups and a pool of files. It is a guest of a boot
 * sector, because its QEMU is emulated on an emulated machine.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Domains } from '@berth/agent/domain/domains.ts';
import type { DomainSpec } from '@berth/agent/domain/spec.ts';
import type { Hypervisor } from '@berth/agent/drivers/hypervisor.ts';
import { createLibvirtHypervisor } from '@berth/agent/drivers/libvirt/hypervisor.ts';
import { createLibvirtStorage } from '@berth/agent/drivers/libvirt/storage.ts';
import { createSimDrivers } from '@berth/agent/drivers/sim/sim-drivers.ts';
import type { Storage } from '@berth/agent/drivers/storage.ts';
import { Ledger } from '@berth/agent/operations/ledger.ts';
import type { OperationKind } from '@berth/agent/operations/operation.ts';
import { Operations } from '@berth/agent/operations/operations.ts';
import { createPoolParts } from '@berth/agent/pool/parts.ts';
import { poolLooks } from '@berth/agent/pool/pool-looks.ts';
import { VolumeData } from '@berth/agent/volume/volume-data.ts';
import { refuseMoving, VolumeMoves } from '@berth/agent/volume/moves.ts';
import { startStorageGuest, type StorageGuest } from '@berth/deploy/lab/storage-guest.ts';
import { createLog } from '@berth/shared/log/log.ts';
import type { PoolSource } from '@berth/shared/model/pool.ts';
import { checkPoolSource } from '@berth/shared/pool/check.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import { COUNTED_BYTES, COUNTER_BYTE, countingDisk } from '../harness/boot-medium.ts';
import { guestTools } from '../harness/guest-tools.ts';
import { describeLab } from '../harness/lab.ts';
import { eventually } from '../harness/processes.ts';

const MIB = 2 ** 20;
const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const IMAGE = `sha256:${'ab'.repeat(32)}`;
const IMAGE_BYTES = 3 * MIB;
const SERIAL = '/var/lib/berth/log';
const dir = mkdtempSync(join(tmpdir(), 'berth-lvm-guests-'));
const log = createLog('test', 'silent');
const work = { signal: new AbortController().signal, onProgress: () => undefined };
const ref = { uuid: UUID, vmId: 'vm-1' };
const web: DomainSpec = {
  ...{ ...ref, name: 'web', vcpus: 1, memoryBytes: 32 * MIB, nics: [], seedVolumeId: undefined, generation: 1 },
  disks: [{ target: 'vda', volumeId: 'volume-1' }],
};
const nothing: PoolSource = {
  ...{ type: 'dir', targetPath: '', hosts: [], path: '', name: '', devices: [] },
  ...{ format: '', initiator: '', adapter: '', authUser: '' },
};
const NFS = { type: 'netfs', hosts: ['localhost'], path: '/srv/vms', targetPath: '/kvm/nfs', format: 'nfs' } as const;

describeLab('guests on logical volumes', { hosts: ['h1'] }, (lab) => {
  let guest: StorageGuest;
  let ledger: Ledger;
  let storage: Storage;
  let hypervisor: Hypervisor;
  let operations: Operations;
  let pools: ReturnType<typeof createPoolParts>;
  let domains: Domains;
  let moves: VolumeMoves;
  let data: VolumeData;
  let ops = 0;

  /** As the controller does: what passes by waiting is asked for again. */
  async function run<Q>(kind: OperationKind<Q>, request: Q): Promise<void> {
    const id = `job-1.${++ops}`;
    let wrong = '';
    await eventually(
      `${kind.name} has ended`,
      async () => {
        await operations.run(kind, id, request);
        await eventually('it does not run', async () => operations.get(id).state !== 'running', 240_000);
        const { failure } = operations.get(id);
        if (failure?.reason === 'STORAGE_UNAVAILABLE') throw new Error(failure.message);
        if (failure) wrong = failure.message;
        return true;
      },
      240_000,
    );
    expect(wrong).toBe('');
  }
  const pool = (poolId: string, name: string, source: Partial<PoolSource>) => ({
    ...{ poolId, name, source: checkPoolSource(name, { ...nothing, ...source }) },
    ...{ shared: false, autostart: true, generation: 1 },
  });
  const move = async (to: string): Promise<void> => {
    await run(moves.move, { volumeId: 'volume-1', to });
    await run(moves.finish, 'volume-1');
  };
  const volumes = () =>
    guest.run(
      "exec 2>/dev/null; lvs --noheadings -o vg_name,lv_name | grep volume- | tr -s ' '; ls /srv/vms | grep volume-",
    );
  const hasBooted = (times: number) =>
    eventually(
      `it has booted ${times} times`,
      async () => (await guest.run(`cat ${SERIAL}/*`)).includes(`${times} boots from the disk`),
      240_000,
    );
  /** What the guest has counted, as its disk has it. */
  async function counted(path: string): Promise<number> {
    const sector = `dd if=${path} bs=512 skip=${COUNTER_BYTE / 512} count=1 iflag=direct 2>/dev/null`;
    return Number(await guest.run(`${sector} | od -An -N4 -tu4`));
  }
  const countsOn = (path: string, above: number) =>
    eventually(`it goes on counting on ${path}`, async () => (await counted(path)) > above, 120_000);
  /** Of what the image has behind the counter. */
  const sum = (path: string) => guest.run(`head -c ${IMAGE_BYTES} ${path} | tail -c +${COUNTED_BYTES + 1} | sha256sum`);

  beforeAll(async () => {
    const socket = join(dir, 'libvirt-sock');
    guest = await startStorageGuest(lab().host('h1'), socket);
    // libvirt asks QEMU what it can, once: emulated in an emulated machine that takes longer than a call may
    await guest.run(`mkdir -p ${SERIAL}; virsh capabilities >/dev/null`);
    storage = createLibvirtStorage({
      socketPath: () => socket,
      uri: () => 'qemu:///system',
      clock: systemClock,
      ...guestTools(guest),
    });
    hypervisor = createLibvirtHypervisor({ socketPath: socket, clock: systemClock, random: systemRandom, log });
    const simulated = createSimDrivers({ name: 'h1', runDir: dir, clock: systemClock });
    simulated.sim.images.set(IMAGE, { digest: IMAGE, virtualSizeBytes: IMAGE_BYTES, fileBytes: 1_000 });
    const blocks = {
      ...simulated.disks.blocks,
      async *readImage() {
        yield countingDisk(IMAGE_BYTES);
      },
    };
    const drivers = { ...simulated, storage, hypervisor, disks: { ...simulated.disks, blocks } };
    ledger = await Ledger.open(dir, { clock: systemClock, log });
    operations = new Operations(ledger, systemClock, log);
    const about = { operations, dataDir: dir, clock: systemClock, log, hostId: 'host-1', hostName: 'h1' };
    // its folders are in the machine; libvirt and QEMU there find out what they are
    const fine = () => Promise.resolve();
    const looks = poolLooks(dir, systemClock, { path: fine, folder: fine, directIo: async () => true });
    pools = createPoolParts({ ...about, drivers, looks });
    await pools.store.load();
    const { disks } = pools;
    domains = new Domains({
      ...{ hypervisor, disks, operations, hostName: 'h1', bootDir: '/var/lib/berth/boot', log, means: drivers.means },
      guestDisks: { unfinished: async () => [] },
      abilities: async () => ({ domainType: 'qemu', emulatorPath: '/usr/bin/qemu-system-x86_64', directIo: true }),
      mayStart: (vm) => refuseMoving({ disks, places: disks.places }, vm),
    });
    const directIo = async () => true;
    const around = { hypervisor, disks, places: disks.places, domains, operations, clock: systemClock, log };
    moves = new VolumeMoves({ ...around, directIo });
    data = new VolumeData({ hypervisor, disks, operations });
    for (const spec of [
      pool('pool-a', 'a', { type: 'logical', name: 'vg0' }),
      pool('pool-b', 'b', { type: 'logical', name: 'vg1' }),
      pool('pool-nfs', 'nfs', NFS),
    ])
      await run(pools.pools.ensure, { spec, marked: false, secret: '' });
    const volume = { volumeId: 'volume-1', vmId: 'vm-1', poolId: 'pool-a', imageDigest: IMAGE };
    await disks.ensureBlockVolume({ ...volume, format: 'raw', sizeBytes: 4 * MIB }, work);
  }, 480_000);
  afterAll(async () => {
    await hypervisor?.close();
    await storage?.close();
    await ledger?.close();
    guest?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('boot from one', async () => {
    await run(domains.ensure, web);
    await run(domains.start, ref);
    await hasBooted(1);
    expect(await guest.run('virsh dumpxml web')).toMatch(/<disk type='block'[\s\S]*<source dev='\/dev\/vg0\/volume-1'/);
    await countsOn('/dev/vg0/volume-1', 3);
  }, 400_000);

  it('have it larger while they run, without what others left in the new room', async () => {
    await run(data.resize, { volumeId: 'volume-1', sizeBytes: 16 * MIB, shrink: false });
    expect(await guest.run('virsh domblkinfo web vda')).toMatch(/Capacity: +16777216/);
    expect(await guest.run('blockdev --getsize64 /dev/vg0/volume-1')).toBe(String(16 * MIB));
    expect(await guest.run(`tail -c +${IMAGE_BYTES + 1} /dev/vg0/volume-1 | tr -d '\\0' | wc -c`)).toBe('0');
    await countsOn('/dev/vg0/volume-1', await counted('/dev/vg0/volume-1'));
  }, 180_000);

  it('write on in another group, in a file and back, and nothing is left where they were', async () => {
    let path = '/dev/vg0/volume-1';
    const before = await sum(path);
    for (const [pool, to, lies] of [
      ['pool-b', '/dev/vg1/volume-1', 'vg1 volume-1'],
      ['pool-nfs', '/kvm/nfs/volume-1.raw', 'volume-1.raw'],
      ['pool-a', '/dev/vg0/volume-1', 'vg0 volume-1'],
    ] as const) {
      const written = await counted(path);
      await move(pool);
      path = to;
      await countsOn(path, written);
      expect(await sum(path)).toBe(before);
      expect(await guest.run('virsh domblklist web; virsh domblklist --inactive web')).toMatch(
        new RegExp(`vda +${path}[\\s\\S]*vda +${path}`),
      );
      expect(await volumes()).toBe(lies);
    }
    expect(await guest.run('virsh domstate web')).toBe('running');
  }, 420_000);

  it('boot from where it came to, off or not meanwhile, and leave nothing behind', async () => {
    await run(domains.forceOff, ref);
    const written = await counted('/dev/vg0/volume-1');
    await move('pool-b');
    await run(domains.start, ref);
    await hasBooted(2);
    await countsOn('/dev/vg1/volume-1', written);
    await run(domains.forceOff, ref);
    await run(domains.remove, ref);
    await pools.disks.removeVolume('volume-1');
    expect(await volumes()).toBe('');
  }, 420_000);
});
