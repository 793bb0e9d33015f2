/**
 * QEMU as Debian runs it: as libvirt-qemu, with libvirt giving it the files of its VM. The base image is everybody's: it
 * stays root's and read-only, can be checked and sent on while VMs run on it, and takes the next clone when they have ended.
 */
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

/** Debian's defaults, less what a container cannot have. */
const QEMU_CONF = [
  'user = "libvirt-qemu"',
  'group = "libvirt-qemu"',
  'dynamic_ownership = 1',
  'namespaces = []',
  'cgroup_controllers = []',
].join('\n');

describeLab('hosts whose QEMU is not root', { hosts: ['h1', 'h2'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    for (const host of lab().hosts) {
      await host.killLibvirt({ hold: true });
      await host.writeFile('/etc/libvirt/qemu.conf', `${QEMU_CONF}\n`);
      await host.releaseLibvirt();
    }
    c = await Cluster.start(await machineAddress(lab()));
    await Promise.all(lab().hosts.map((h) => c.addLabHost(h)));
    await c.waitUp('h1', 'h2');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
  }, 180_000);
  afterAll(() => c?.stop());

  const owners = async (host: LabHost, folder: string): Promise<string[]> =>
    (await host.run(['sh', '-c', `cd /var/lib/berth/${folder} && stat -c '%U:%G %a %n' *.qcow2`])).trim().split('\n');
  const clone = (name: string, host: string) => c.ok('vm', 'clone', 'base', name, '--host', host, '--memory', '256MiB');

  it('two clones of one image boot beside each other', async () => {
    await Promise.all([clone('u1', 'h1'), clone('u2', 'h1')]);
    await c.ok('vm', 'start', 'u1', 'u2');
    await c.serial('u1', /^berth-guest: u1 .*[\s\S]*boots 1/m);
    await c.serial('u2', /^berth-guest: u2 .*[\s\S]*boots 1/m);
    const users = await lab().host('h1').run(['ps', '-C', 'qemu-system-x86_64', '-o', 'user:20=']);
    expect(users.trim().split(/\s+/)).toEqual(['libvirt-qemu', 'libvirt-qemu']);
  });

  it('the image stays as it was installed, and the disks are QEMU’s while it runs', async () => {
    const host = lab().host('h1');
    expect(await owners(host, 'images')).toEqual([expect.stringMatching(/^root:root 444 [0-9a-f]{64}\.qcow2$/)]);
    expect(await owners(host, 'volumes')).toEqual([
      expect.stringMatching(/^libvirt-qemu:libvirt-qemu 600 /),
      expect.stringMatching(/^libvirt-qemu:libvirt-qemu 600 /),
    ]);
  });

  it('the image is served to another host, which checks it, while VMs run on it', async () => {
    await clone('u3', 'h2');
    await c.ok('vm', 'start', 'u3');
    await c.serial('u3', /^berth-guest: u3 /m);
    const wanted = await owners(lab().host('h1'), 'images');
    // the guest runs before all of the image is there
    await eventually(
      'it is there',
      async () => isDeepStrictEqual(await owners(lab().host('h2'), 'images'), wanted),
      60_000,
    );
  });

  it('a third clone starts after the others have stopped, and all can be deleted', async () => {
    await c.ok('vm', 'stop', 'u1', 'u2');
    await clone('u4', 'h1');
    await c.ok('vm', 'start', 'u4', 'u1');
    await c.serial('u4', /^berth-guest: u4 /m);
    await c.serial('u1', /boots 2/);
    await c.ok('vm', 'delete', '--force', 'u1', 'u2', 'u3', 'u4');
    for (const host of lab().hosts)
      expect(await host.run(['find', '/var/lib/berth/volumes', '/var/lib/berth/serial', '-type', 'f'])).toBe('');
    await c.ok('image', 'delete', 'base');
    for (const host of lab().hosts) expect(await host.run(['find', '/var/lib/berth/images', '-type', 'f'])).toBe('');
  });
});
