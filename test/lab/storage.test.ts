/**
 * Pools of LVM, iSCSI and NFS: the agent's own pools against the libvirt of a guest whose kernel knows them. What is written into
 * a logical volume is read back in the guest.
 */
import { execa } from 'execa';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { LongWork } from '@berth/agent/drivers/disks.ts';
import { createLibvirtStorage } from '@berth/agent/drivers/libvirt/storage.ts';
import { createDisks } from '@berth/agent/drivers/linux/disks.ts';
import { createSimDrivers } from '@berth/agent/drivers/sim/sim-drivers.ts';
import type { Storage } from '@berth/agent/drivers/storage.ts';
import type { AllDisks } from '@berth/agent/drivers/volume-work.ts';
import { Ledger } from '@berth/agent/operations/ledger.ts';
import { Operations } from '@berth/agent/operations/operations.ts';
import { createPoolParts } from '@berth/agent/pool/parts.ts';
import { poolUuid, type PoolSpec } from '@berth/agent/pool/pool-spec.ts';
import { startStorageGuest, type StorageGuest } from '@berth/deploy/lab/storage-guest.ts';
import { createLog } from '@berth/shared/log/log.ts';
import type { PoolSeen, PoolSource } from '@berth/shared/model/pool.ts';
import { checkPoolSource } from '@berth/shared/pool/check.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { guestTools } from '../harness/guest-tools.ts';
import { describeLab } from '../harness/lab.ts';
import { eventually } from '../harness/processes.ts';

const MIB = 2 ** 20;
const sha256 = (b: Buffer): string => createHash('sha256').update(b).digest('hex');
const IMAGE = `sha256:${'ab'.repeat(32)}`;
const IQN = 'iqn.2020-01.org.example:t1';
const dir = mkdtempSync(join(tmpdir(), 'berth-storage-'));
const log = createLog('test', 'silent');
const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };
const nothing: PoolSource = {
  ...{ type: 'dir', targetPath: '', hosts: [], path: '', name: '', devices: [] },
  ...{ format: '', initiator: '', adapter: '', authUser: '' },
};

describeLab('storage of a kernel of its own', { hosts: ['h1'] }, (lab) => {
  let guest: StorageGuest;
  let ledger: Ledger;
  let storage: Storage;
  let pools: ReturnType<typeof createPoolParts>;
  let real: AllDisks;
  let operations: Operations;
  let ops = 0;
  beforeAll(async () => {
    const socket = join(dir, 'libvirt-sock');
    guest = await startStorageGuest(lab().host('h1'), socket);
    const libvirt = { socketPath: () => socket, uri: () => 'qemu:///system', clock: systemClock };
    storage = createLibvirtStorage({ ...libvirt, ...guestTools(guest) });
    const drivers = createSimDrivers({ name: 'h1', runDir: dir, clock: systemClock });
    drivers.sim.images.set(IMAGE, { digest: IMAGE, virtualSizeBytes: 5 * MIB, fileBytes: 1_000 });
    // files of this machine are real ones
    mkdirSync(join(dir, 'data'));
    for (const path of [dir, join(dir, 'data')]) chmodSync(path, 0o711);
    real = createDisks({ dataDir: join(dir, 'data'), unprivilegedUser: 'nobody', clock: systemClock, log });
    const blocks = {
      ...drivers.disks.blocks,
      exportDisk: real.blocks.exportDisk,
      async *readImage() {
        for (let i = 0; i < 5; i++) yield Buffer.alloc(MIB, 'i');
      },
    };
    ledger = await Ledger.open(dir, { clock: systemClock, log });
    operations = new Operations(ledger, systemClock, log);
    const about = { operations, dataDir: dir, clock: systemClock, log, hostId: 'host-1', hostName: 'h1' };
    pools = createPoolParts({ ...about, drivers: { ...drivers, storage, disks: { ...drivers.disks, blocks } } });
    await pools.store.load();
  }, 360_000);
  afterAll(async () => {
    await storage?.close();
    await ledger?.close();
    guest?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const spec = (poolId: string, name: string, source: Partial<PoolSource>): PoolSpec => ({
    ...{ poolId, name, source: checkPoolSource(name, { ...nothing, ...source }) },
    ...{ shared: false, autostart: true, generation: 1 },
  });
  const ensure = async (s: PoolSpec, secret = ''): Promise<void> => {
    const view = await operations.run(pools.pools.ensure, `job.${++ops}`, { spec: s, marked: false, secret });
    if (view.failure) throw new Error(view.failure.message);
  };
  const remove = async (poolId: string): Promise<void> => {
    const view = await operations.run(pools.pools.remove, `job.${++ops}`, poolId);
    if (view.failure) throw new Error(view.failure.message);
  };
  /** A look may take longer than a round under emulation. */
  const active = (poolId: string, done: (p: PoolSeen) => boolean = () => true): Promise<PoolSeen> =>
    eventually(`${poolId} is active`, async () => {
      const seen = (await pools.watch.observe()).find((p) => p.poolId === poolId);
      return seen?.state === 'active' && done(seen) && seen;
    });

  it('makes disks in a volume group: an image and zeros behind it, or zeros, on a disk that others wrote on', async () => {
    await ensure(spec('pool-lvm', 'fast', { type: 'logical', name: 'vg0' }));
    expect((await active('pool-lvm')).capacityBytes).toBe(252 * MIB);
    const wanted = { vmId: 'vm-1', poolId: 'pool-lvm', format: 'raw' as const };
    const clone = { ...wanted, volumeId: 'volume-clone', imageDigest: IMAGE, sizeBytes: 9 * MIB };
    const blank = { ...wanted, volumeId: 'volume-blank', imageDigest: undefined, sizeBytes: 4 * MIB };
    for (const v of [clone, clone, blank]) await pools.disks.ensureBlockVolume(v, work);
    expect(await guest.run('exec 2>/dev/null; lvs --noheadings -o lv_name,lv_size --units m vg0 | sort')).toMatch(
      /berth\.pool-lvm\.host-1\.mark +4\.00m\s+volume-blank +4\.00m\s+volume-clone +12\.00m/,
    );
    expect(pools.disks.volumePath('volume-clone', false)).toBe('/dev/vg0/volume-clone');
    // sorted bytes of each MiB: i is the image's, nothing is zero, x would be what was there before
    const bytes = (name: string) =>
      guest.run(
        `for i in $(seq 0 11); do dd if=/dev/vg0/${name} bs=1M skip=$i count=1 2>/dev/null | tr -d '\\0' 2>/dev/null | head -c 1; echo; done`,
      );
    expect((await bytes('volume-clone')).replace(/\s+/g, '')).toBe('iiiii');
    expect((await bytes('volume-blank')).trim()).toBe('');
    await active('pool-lvm', (p) => p.volumesAllocatedBytes === 16 * MIB);
  });

  it('makes one larger: what others left in the new room is gone, what it held is not; and says when its group is full', async () => {
    const grow = (bytes: number) => pools.disks.work.resize('volume-blank', bytes, { shrink: false }, work);
    await guest.run('printf kept | dd of=/dev/vg0/volume-blank conv=notrunc bs=1 seek=4194300 2>/dev/null');
    await grow(40 * MIB);
    expect(await guest.run('blockdev --getsize64 /dev/vg0/volume-blank')).toBe(String(40 * MIB));
    expect(await guest.run("tr -d '\\0' </dev/vg0/volume-blank")).toBe('kept');
    await expect(grow(400 * MIB)).rejects.toMatchObject({ reason: 'DISK_FULL' });
    expect(await pools.disks.findVolume('volume-blank')).toMatchObject({ sizeBytes: 40 * MIB });
  });

  it('takes in a file that somebody sent, whole or not at all, and gives it out again', async () => {
    const made = join(dir, 'made');
    await execa('qemu-img', ['create', '-q', '-f', 'raw', `${made}.raw`, '22M']);
    await execa('qemu-io', ['-f', 'raw', '-c', 'write -q -P 7 1M 12M', `${made}.raw`]);
    await execa('qemu-img', ['convert', '-O', 'qcow2', `${made}.raw`, made]);
    const file = await readFile(made);
    const sink = await real.openUpload('job-1.receive', file.length);
    await sink.write(file);
    await sink.finish();
    const uploaded = await real.work.openUploaded('job-1.receive', { fileFormat: '', format: 'raw' }, work);
    const about = { volumeId: 'volume-sent', vmId: '', imageDigest: undefined, sizeBytes: uploaded.sizeBytes };
    const install = (over: Partial<typeof work> = {}) =>
      pools.disks.work.install({ ...about, poolId: 'pool-lvm', format: 'raw' }, uploaded, { ...work, ...over });
    const enough = new AbortController();
    const onProgress = (done: number): void => void (done > 4 * MIB && enough.abort(new Error('enough')));
    await expect(install({ signal: enough.signal, onProgress })).rejects.toThrow();
    expect(await pools.disks.findVolume('volume-sent')).toBeUndefined();
    expect(await guest.run('exec 2>/dev/null; lvs --noheadings -o lv_name vg0')).not.toContain('volume-sent');
    await install();
    const raw = await readFile(`${made}.raw`);
    const padded = sha256(Buffer.concat([raw, Buffer.alloc(2 * MIB)]));
    expect(await guest.run('blockdev --flushbufs /dev/vg0/volume-sent; sha256sum </dev/vg0/volume-sent')).toContain(
      padded,
    );
    const wanted = { fileBytes: 22 * MIB, virtualSizeBytes: 22 * MIB, sha256: sha256(raw) };
    expect(await pools.disks.work.export('job-2.make', 'volume-sent', 'raw', work)).toEqual(wanted);
    const small = await pools.disks.work.export('job-3.make', 'volume-sent', 'qcow2', work);
    expect([small.virtualSizeBytes, small.fileBytes < 14 * MIB]).toEqual([22 * MIB, true]);
    await uploaded.close();
    for (const id of ['job-1.receive', 'job-2.make', 'job-3.make']) await real.removeUpload(id);
    await pools.disks.removeVolume('volume-sent');
  });

  it('moves one to the folder of the host as it is, and refuses to cut off what lies behind its size', async () => {
    const { places } = pools.disks;
    await places.begin('volume-blank', '');
    await places.copy('volume-blank', work);
    await places.end('volume-blank');
    await guest.run('printf behind | dd of=/dev/vg0/volume-clone conv=notrunc bs=1 seek=10485760 2>/dev/null');
    await places.begin('volume-clone', '');
    await expect(places.copy('volume-clone', work)).rejects.toThrow('holds something behind its 9 MiB');
    await places.end('volume-clone');
    expect(await pools.disks.findVolume('volume-clone')).toMatchObject({ poolId: 'pool-lvm' });
  });

  it('wipes and removes them, and the room is free again', async () => {
    await pools.disks.work.wipe('volume-clone', work);
    expect(await guest.run("tr -d '\\0' </dev/vg0/volume-clone | wc -c")).toBe('0');
    for (const id of ['volume-clone', 'volume-blank']) await pools.disks.removeVolume(id);
    await remove('pool-lvm');
    expect(await guest.run('exec 2>/dev/null; lvs --noheadings vg0; vgs --noheadings -o vg_free --units m vg0')).toBe(
      '252.00m',
    );
  });

  it('logs in to an iSCSI target with a secret, makes no disks there, and gives out its units as they are, once', async () => {
    const san = { type: 'iscsi', hosts: ['localhost'], path: IQN, authUser: 'berth' } as const;
    await expect(ensure(spec('pool-wrong', 'wrong', san), Buffer.from('no').toString('base64'))).rejects.toThrow();
    await ensure(spec('pool-san', 'san', san), Buffer.from('lab-chap-secret').toString('base64'));
    expect((await active('pool-san')).capacityBytes).toBe(32 * MIB);
    expect(await storage.listVolumes(poolUuid('pool-san'))).toMatchObject([
      { name: 'unit:0:0:1', capacityBytes: 32 * MIB },
    ]);
    const volume = { volumeId: 'volume-lun', vmId: 'vm-1', imageDigest: undefined, sizeBytes: MIB, poolId: 'pool-san' };
    await expect(pools.disks.ensureVolume(volume)).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
    // somebody has written there; it becomes a volume as it is, is wiped when that is asked for, and let go of
    const [unit] = (await active('pool-san')).units ?? [];
    expect(unit).toMatchObject({ name: 'unit:0:0:1', sizeBytes: 32 * MIB, key: expect.stringMatching(/./) });
    const device = `$(ls /dev/disk/by-path/*${IQN}-lun-1)`;
    await guest.run(`printf secret | dd of=${device} conv=fsync 2>/dev/null`);
    const chosen = { name: unit!.name, key: unit!.key };
    const how = { preallocation: 'off', clusterBytes: 65_536, lazyRefcounts: false, format: 'raw' } as const;
    const lun = { ...volume, ...how, vmId: '', sizeBytes: 32 * MIB, unit: chosen };
    await pools.disks.work.make(lun, work);
    expect(pools.disks.volumePath('volume-lun', false)).toMatch(new RegExp(`^/dev/disk/by-path/.*${IQN}-lun-1$`));
    await expect(pools.disks.work.make({ ...lun, volumeId: 'volume-two' }, work)).rejects.toMatchObject({
      reason: 'IN_USE',
    });
    const held = `blockdev --flushbufs ${device}; tr -d '\\0' <${device}`;
    expect(await guest.run(held)).toBe('secret');
    // a file of it can be taken, and none takes its place
    const { fileBytes } = await pools.disks.work.export('job-4.make', 'volume-lun', 'raw', work);
    const taken = await readFile(join(dir, 'data', 'uploads', 'job-4.make'));
    expect([fileBytes, taken.length, taken.toString('latin1').replaceAll('\0', '')]).toEqual([
      ...[32 * MIB, 32 * MIB, 'secret'],
    ]);
    await real.removeUpload('job-4.make');
    await pools.disks.work.wipe('volume-lun', work);
    expect(await guest.run(held)).toBe('');
    await pools.disks.removeVolume('volume-lun');
    expect((await storage.listVolumes(poolUuid('pool-san'))).length).toBe(1);
    await remove('pool-san');
    expect(await guest.run('iscsiadm -m session 2>&1')).toMatch(/No active sessions/);
  });

  it('mounts what a server of NFS exports, and makes and removes a disk there', async () => {
    const nfs = {
      type: 'netfs',
      hosts: ['localhost'],
      path: '/srv/vms',
      targetPath: '/kvm/nfs',
      format: 'nfs',
    } as const;
    await ensure(spec('pool-nfs', 'nfs', nfs));
    await active('pool-nfs');
    expect(await guest.run('grep /kvm/nfs /proc/mounts')).toMatch(/^localhost:\/srv\/vms \/kvm\/nfs nfs4 /);
    const volume = {
      volumeId: 'volume-file',
      vmId: 'vm-1',
      imageDigest: undefined,
      sizeBytes: MIB,
      poolId: 'pool-nfs',
    };
    await pools.disks.ensureVolume(volume);
    expect(await guest.run('ls /srv/vms')).toMatch(/berth\.pool-nfs\.host-1\.mark\s+volume-file\.qcow2/);
    await pools.disks.removeVolume('volume-file');
    await remove('pool-nfs');
    expect(await guest.run('ls /srv/vms; grep -c /kvm/nfs /proc/mounts')).toBe('0');
  });
});
