/** Disks on Gluster: a real server, two hosts that mount its volume, VMs that run there from one copy of their image. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { BRICK, startGluster, type GlusterServer } from '@berth/deploy/lab/gluster.ts';
import { startLab, type Lab } from '@berth/deploy/lab/lab.ts';
import { ensureGlusterImage } from '@berth/deploy/lab/managed-image.ts';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { guestShell } from '../harness/guest-shell.ts';
import { describeWhereLabsRun, ownLabel, removeLeftovers } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

interface Pool {
  readonly name: string;
  readonly onHosts: readonly { readonly state: string; readonly availableBytes: number }[];
}
interface Vm {
  readonly spec: { readonly disks: readonly { readonly volumeId: string; readonly pool?: string }[] };
}

describeWhereLabsRun('disks on Gluster', () => {
  let lab: Lab;
  let c: Cluster;
  let gluster: GlusterServer;
  beforeAll(async () => {
    await removeLeftovers();
    const image = await ensureGlusterImage();
    lab = await startLab({ hosts: ['h1', 'h2'], image, fuse: true, label: ownLabel() });
    [c, gluster] = await Promise.all([machineAddress(lab).then((a) => Cluster.start(a)), startGluster(lab, image)]);
    for (const name of ['h1', 'h2']) await c.addLabHost(lab.host(name));
    await c.waitUp('h1', 'h2');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
  }, 300_000);
  afterAll(async () => {
    await c?.stop();
    await lab?.stop();
  });

  const create = (name: string, ...more: string[]) =>
    c.berth(
      ...['pool', 'create', name, '--type', 'netfs', '--format', 'glusterfs', '--source-host', gluster.address],
      ...['--source-path', `/${gluster.volume}`, '--path', `/kvm/${name}`, '--all-hosts', ...more],
    );
  const fileOf = async (vm: string): Promise<string> => {
    const { spec } = await c.json<Vm>('vm', 'show', vm);
    return `/kvm/vms/${spec.disks[0]?.volumeId}.qcow2`;
  };

  it('is one pool on both hosts, mounted there, and is refused as storage of one host alone', async () => {
    expect((await create('alone')).err).toMatch(/is the same storage as on another host .* --shared/);
    expect((await create('vms', '--shared')).out).toMatch(/created on h1, h2/);
    await eventually('both know its room', async () => {
      const pool = (await c.json<Pool[]>('pool', 'list')).find((p) => p.name === 'vms');
      return pool?.onHosts.length === 2 && pool.onHosts.every((h) => h.state === 'active' && h.availableBytes > 0);
    });
    for (const h of lab.hosts) expect(await h.run(['cat', '/proc/mounts'])).toMatch(/\/kvm\/vms fuse\.glusterfs /);
    expect(await gluster.run(['ls', BRICK])).toMatch(/^berth\.pool-[^.]*\.mark$/m);
  });

  it('runs VMs on both hosts from one copy of their image, and keeps a second writer out', async () => {
    for (const [name, host] of [
      ['web', 'h1'],
      ['db', 'h2'],
    ] as const)
      await c.ok('vm', 'clone', 'base', name, '--host', host, '--pool', 'vms', '--memory', '128MiB', '--start');
    await c.serial('web', /^berth-facts: /m);
    await c.serial('db', /^berth-facts: /m);
    const file = await fileOf('web');
    const info = await lab.host('h2').run(['qemu-img', 'info', '-U', '--output=json', file]);
    expect(info).toMatch(/"full-backing-filename": "\/kvm\/vms\/berth\.[0-9a-f]{64}\.qcow2"/);
    expect((await c.ok('image', 'show', 'base')).match(/copy on h\d/g)).toEqual(['copy on h1']);
    const second = await lab.host('h2').exec(['qemu-io', '-f', 'qcow2', '-c', 'write 0 512', file]);
    expect(second.stdout + second.stderr).toMatch(/Failed to get "write" lock/);
  });

  it('lets a guest go on after its server did not answer for a while, and leaves nothing there in the end', async () => {
    const guest = guestShell(c, 'web');
    await guest.run('(echo before; sync) >/root/kept');
    await gluster.pause();
    const written = guest.run('(cat /root/kept; echo after; sync) >>/root/more');
    await gluster.unpause();
    await written;
    expect(await guest.ask('cat /root/more | tr "\\n" " "')).toMatch(/before after/);
    await c.ok('vm', 'delete', 'web', 'db', '--force');
    expect(await gluster.run(['ls', BRICK])).not.toMatch(/^volume-/m);
    await c.ok('pool', 'remove', 'vms');
    for (const h of lab.hosts) expect(await h.run(['cat', '/proc/mounts'])).not.toContain('glusterfs');
  });
});
