/** Storage pools with real libvirt and QEMU: a folder of one host, one that two hosts share, and one that fills up under a guest. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { findRoot } from '@berth/deploy/setup/root.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { execa } from 'execa';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

interface Pool {
  readonly name: string;
  readonly onHosts: readonly { readonly host: string; readonly state: string; readonly availableBytes: number }[];
}

const share = mkdtempSync(join(findRoot(), '.lab-share-'));
chmodSync(share, 0o755);

describeLab('pools', { hosts: ['h1', 'h2'], share: { source: share, target: '/kvm/shared' } }, (lab) => {
  let c: Cluster;
  const h1 = () => lab().host('h1');
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    for (const name of ['h1', 'h2']) await c.addLabHost(lab().host(name));
    await c.waitUp('h1', 'h2');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
  }, 180_000);
  afterAll(async () => {
    await c?.stop();
    rmSync(share, { recursive: true, force: true });
  });

  const pool = async (name: string): Promise<Pool | undefined> =>
    (await c.json<Pool[]>('pool', 'list')).find((p) => p.name === name);

  it('makes a folder a pool on every host, and starts it again when somebody stopped it with virsh', async () => {
    expect(await c.ok('pool', 'create', 'fast', '--path', '/kvm/vdisks', '--all-hosts')).toMatch(/created on h1, h2/);
    expect(await h1().virsh(['pool-dumpxml', 'fast'])).toContain('<path>/kvm/vdisks</path>');
    expect(await pool('fast')).toMatchObject({ onHosts: [{ state: 'active' }, { state: 'active' }] });
    await h1().virsh(['pool-destroy', 'fast']);
    await eventually('it is up again', async () => (await h1().virsh(['pool-list', '--name'])).includes('fast'));
    await c.ok('pool', 'stop', 'fast');
    expect(await h1().virsh(['pool-list', '--name'])).not.toContain('fast');
    await c.ok('pool', 'start', 'fast');
  });

  it('knows storage that hosts share as one pool, and other storage at the same place as another', async () => {
    const alone = await c.berth('pool', 'create', 'wrong', '--path', '/kvm/shared/sub', '--all-hosts');
    expect(alone.err).toMatch(/is the same storage as on another host .* --shared/);
    expect(await c.ok('pool', 'create', 'nfs', '--path', '/kvm/shared/vms', '--all-hosts', '--shared')).toMatch(
      /created/,
    );
    expect(await h1().virsh(['vol-list', 'nfs'])).toMatch(/berth\.pool-.*\.mark/);
    const other = await c.berth('pool', 'create', 'apart', '--path', '/kvm/apart', '--all-hosts', '--shared');
    expect(other.err).toMatch(/is not the storage that the other hosts of this pool have/);
    expect(await h1().virsh(['pool-list', '--all', '--name'])).not.toContain('apart');
  });

  interface Vm {
    readonly state: string;
    readonly stateReason: string;
    readonly spec: { readonly disks: readonly { readonly volumeId: string; readonly pool?: string }[] };
  }
  const vm = (name: string): Promise<Vm> => c.json<Vm>('vm', 'show', name);

  it('runs VMs on a shared pool from one copy of their image, and QEMU keeps a second writer out', async () => {
    await c.ok('vm', 'clone', 'base', 'web', '--host', 'h1', '--pool', 'nfs', '--memory', '128MiB', '--start');
    await c.ok('vm', 'clone', 'base', 'db', '--host', 'h2', '--pool', 'nfs', '--memory', '128MiB', '--start');
    await c.serial('web', /^berth-facts: /m);
    await c.serial('db', /^berth-facts: /m);
    const [disk] = (await vm('web')).spec.disks;
    expect(disk?.pool).toBe('nfs');
    const file = `/kvm/shared/vms/${disk?.volumeId}.qcow2`;
    const info = await h1().run(['qemu-img', 'info', '-U', '--output=json', file]);
    expect(info).toMatch(/"full-backing-filename": "\/kvm\/shared\/vms\/berth\.[0-9a-f]{64}\.qcow2"/);
    // h2 never had a copy of its own
    expect((await c.ok('image', 'show', 'base')).match(/copy on h\d/g)).toEqual(['copy on h1']);
    const second = await lab().host('h2').exec(['qemu-io', '-f', 'qcow2', '-c', 'write 0 512', file]);
    expect(second.stdout + second.stderr).toMatch(/Failed to get "write" lock/);
    expect((await c.berth('pool', 'remove', 'nfs')).err).toMatch(/pool nfs is in use: disks of vms db, web lie in it/);
    expect((await c.berth('pool', 'stop', 'nfs')).err).toMatch(/vms db, web run with disks in it/);
    await c.ok('vm', 'delete', 'web', 'db', '--force');
    expect(await h1().run(['ls', '/kvm/shared/vms'])).not.toContain(disk?.volumeId);
  });

  it('makes full clones there, which rest on nothing and are larger than their image where that is wanted', async () => {
    await c.ok(...['vm', 'clone', 'base', 'own', '--host', 'h1', '--pool', 'nfs', '--full'], '--disk-size', '96MiB');
    const id = (await vm('own')).spec.disks[0]?.volumeId;
    const info = await h1().run(['qemu-img', 'info', '--output=json', `/kvm/shared/vms/${id}.qcow2`]);
    expect(JSON.parse(info)).toMatchObject({ 'virtual-size': 96 * 2 ** 20 });
    expect(info).not.toContain('backing');
    expect(await h1().run(['ls', '/var/lib/berth/staging', '/var/lib/berth/volumes'])).not.toContain(`${id}.qcow2`);
    await c.ok('vm', 'start', 'own');
    expect(await c.serial('own', /^berth-facts: .*/m)).toMatch(/disk 100663296 boots 1/);
    await c.ok('vm', 'delete', 'own', '--force');
    expect(await h1().run(['ls', '/kvm/shared/vms'])).not.toContain(id);
  });

  it('writes disks there anew, and takes their image along to another pool: a guest finds what it left', async () => {
    await c.ok('vm', 'clone', 'base', 'web', '--host', 'h1', '--pool', 'nfs', '--memory', '128MiB', '--start');
    await c.serial('web', /^berth-facts: .* boots 1 /m);
    expect((await c.berth('volume', 'sparsify', 'web-vda')).err).toMatch(/which is running. Stop it/);
    await c.ok('vm', 'stop', 'web');
    const id = (await vm('web')).spec.disks[0]?.volumeId;
    const backing = async (path: string) =>
      (JSON.parse(await h1().run(['qemu-img', 'info', '--output=json', path])) as Record<string, unknown>)[
        'full-backing-filename'
      ];
    expect(await c.ok('volume', 'sparsify', 'web-vda')).toMatch(/written anew/);
    expect(await backing(`/kvm/shared/vms/${id}.qcow2`)).toMatch(/^\/kvm\/shared\/vms\/berth\./);
    expect(await c.ok('volume', 'move', 'web-vda', '--pool', 'fast', '--full')).toMatch(/is in pool fast on h1/);
    expect(await backing(`/kvm/vdisks/${id}.qcow2`)).toBeUndefined();
    expect(await c.ok('volume', 'convert', 'web-vda', '--to', 'raw')).toMatch(/^volume web-vda is raw /);
    const left = await h1().run(['ls', '/kvm/vdisks', '/kvm/shared/vms', '/var/lib/berth/staging']);
    expect(left.match(new RegExp(`${id}.*`, 'g'))).toEqual([`${id}.raw`]);
    await c.ok('vm', 'start', 'web');
    await c.serial('web', /^berth-facts: .* boots 2 /m);
    await c.ok('vm', 'delete', 'web', '--force');
  });

  it('makes a volume there smaller where nothing is cut off', async () => {
    await c.ok('volume', 'create', 'data', '--size', '64MiB', '--pool', 'nfs', '--host', 'h1');
    const { id } = await c.json<{ id: string }>('volume', 'show', 'data');
    const file = `/kvm/shared/vms/${id}.qcow2`;
    await h1().run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 7 5M 1M', file]);
    const refused = await c.berth('volume', 'resize', 'data', '4MiB', '--shrink');
    expect(refused.err).toMatch(/cannot become smaller: there is data up to 6 MiB/);
    expect(await c.ok('volume', 'resize', 'data', '32MiB', '--shrink')).toMatch(/has 32 MiB/);
    expect(await h1().run(['qemu-img', 'info', file])).toMatch(/virtual size: 32 MiB/);
    expect(await h1().run(['qemu-io', '-f', 'qcow2', '-c', 'read -P 7 5M 1M', file])).not.toMatch(/failed/);
    await c.ok('volume', 'delete', 'data');
    expect(await h1().run(['ls', '/kvm/shared/vms'])).not.toContain(id);
  });

  it('takes a volume there off its image, and overwrites all that one holds where it lies on the disk', async () => {
    await c.ok('volume', 'create', 'data', '--image', 'base', '--pool', 'nfs', '--host', 'h1');
    const { id } = await c.json<{ id: string }>('volume', 'show', 'data');
    const [file, kept] = [`/kvm/shared/vms/${id}.qcow2`, '/kvm/shared/kept'];
    const image = (await h1().run(['qemu-img', 'info', file])).match(/^backing file: (\S+)/m)?.[1] ?? 'none';
    expect(await c.ok('volume', 'move', 'data', '--full')).toMatch(/is in pool nfs on h1, and rests on no image/);
    expect(await h1().run(['qemu-img', 'info', file])).not.toMatch(/^backing file/m);
    expect(await h1().run(['qemu-img', 'compare', '-p', file, image])).toMatch(/Images are identical/);
    await h1().run(['ln', file, kept]);
    expect(await c.ok('volume', 'wipe', 'data')).toMatch(/^volume data wiped/);
    const left = await h1().run([
      'sh',
      '-c',
      `tr -d '\\0' <${kept} | wc -c; rm ${kept}; ls /kvm/shared/vms | grep ${id}`,
    ]);
    expect(left.trim().split('\n')).toEqual(['0', `${id}.qcow2`]);
    expect(await h1().run(['qemu-img', 'map', '--output=json', file])).not.toMatch(/"data": true/);
    await c.ok('volume', 'delete', 'data');
  });

  /** Types a line at the guest's shell, and waits until it says something. */
  async function type(name: string, line: string): Promise<void> {
    const console = execa(process.execPath, [PROGRAMS.berth, 'vm', 'console', name], {
      env: { BERTH_CONFIG: c.configFile },
      reject: false,
    });
    let heard = '';
    console.stdout.on('data', (d: Buffer) => (heard += d.toString()));
    await eventually('the guest answers', async () => {
      console.stdin.write('\n');
      return heard.includes(`${name}#`);
    });
    console.stdin.write(`${line}\n`);
    await eventually('the guest has it', async () => heard.includes(line.slice(-12)));
    console.kill('SIGINT');
    await console;
  }

  it('pauses a guest whose disk can not grow, says so, and lets it go on when there is room: nothing is lost', async () => {
    await h1().run(['mkdir', '-p', '/kvm/small']);
    await h1().run(['mount', '-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', '/kvm/small']);
    await c.ok('pool', 'create', 'small', '--path', '/kvm/small', '--host', 'h1', '--overcommit', '4');
    const big = await c.berth('vm', 'create', 'big', '--disk', '1GiB', '--pool', 'small');
    expect(big.err).toMatch(/h1 +pool +pool small: \d+ MiB free of 1 GiB wanted/);
    const disks = ['--disk', 'image=base', '--disk', '48MiB,pool=small'];
    await c.ok('vm', 'create', 'full', ...disks, '--host', 'h1', '--memory', '128MiB', '--start');
    await c.serial('full', /^berth-facts: /m);
    const pattern = "head -c 33554432 /dev/zero | tr '\\0' b";
    await type(
      'full',
      `${pattern} >/dev/vdb; sync; echo sums $(head -c 33554432 /dev/vdb | md5sum) $(${pattern} | md5sum)`,
    );
    await eventually('it is paused', async () => (await vm('full')).state === 'paused', 90_000);
    expect((await vm('full')).stateReason).toBe(
      'no space left in pool small on h1: it goes on by itself when there is room',
    );
    await eventually('it is alarmed', async () => {
      const alarms = await c.ok('alarm', 'list');
      return (
        /vm full is paused: no space left in pool small on h1/.test(alarms) && /pool small.* is \d+ % full/.test(alarms)
      );
    });
    expect(await h1().virsh(['domstate', '--reason', 'full'])).toMatch(/paused \(I\/O error\)/);
    await h1().run(['mount', '-o', 'remount,size=64m', '/kvm/small']);
    await eventually('it goes on', async () => (await vm('full')).state === 'running', 60_000);
    const said = await c.serial('full', /^sums [0-9a-f]{32} .*[0-9a-f]{32}/m);
    const [, written, wanted] = /^sums ([0-9a-f]{32})\s+\S+\s+([0-9a-f]{32})/m.exec(said) ?? [];
    expect(written).toBe(wanted);
    await eventually('the alarm is over', async () => !/vm full is paused/.test(await c.ok('alarm', 'list')));
  });
});
