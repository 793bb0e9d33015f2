/** Images of VMs, with real libvirt and QEMU: what is captured boots, and says who it is. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

interface Vm {
  readonly name: string;
  readonly state: string;
  readonly host: string;
}
interface Image {
  readonly name: string;
  readonly state: string;
  readonly hidden: boolean;
  readonly digest: string;
  readonly defaultSpec: { readonly memoryBytes: number };
  readonly copies: readonly { readonly host: string }[];
}

describeLab('images', { hosts: ['h1', 'h2'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await Promise.all(lab().hosts.map((h) => c.addLabHost(h)));
    await c.waitUp('h1', 'h2');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base:1', '--memory', '128MiB');
    await c.ok('vm', 'clone', 'base', 'web', '--host', 'h1', '--start');
    await c.serial('web', /^berth-facts: .* boots 1 /m);
    // it starts after the guest has said that
    await eventually('its agent', async () => (await c.berth('vm', 'guest-info', 'web')).code === 0, 60_000);
  }, 240_000);
  afterAll(() => c?.stop());

  const vm = async (name: string) => (await c.json<Vm[]>('vm', 'list')).find((v) => v.name === name);
  const image = async (name: string) => c.json<Image>('image', 'show', name);
  /** What a job needed goes once the controller has written down that it has ended. */
  const nothingLeft = (host: string) =>
    eventually(`${host} keeps nothing`, async () => {
      const find = 'cd /var/lib/berth && find uploads staging -type f 2>/dev/null || true';
      const left = (await lab().host(host).run(['sh', '-c', find])).trim();
      if (left !== '') throw new Error(left);
      return true;
    });

  it('captures a guest that runs, with its file systems frozen for a moment; a clone of that boots where it was', async () => {
    const said = await c.ok('image', 'capture', 'web', '--name', 'base:2');
    expect(said).toMatch(/^vm web captured as image base:2 sha256:\S+ \(while it runs, with its file systems frozen\)/);
    expect(await vm('web')).toMatchObject({ state: 'running' });
    expect((await image('base')).name).toBe('base:2');
    await c.ok('vm', 'clone', 'base', 'live', '--host', 'h2', '--start');
    expect(await c.serial('live', /^berth-guest: live /m)).toBeTruthy();
    expect(await c.serial('live', /^berth-facts: .* boots 2 /m)).toBeTruthy();
    await nothingLeft('h1');
  });

  it('waits with a capture while another program backs the guest up, which it leaves alone', async () => {
    const h1 = lab().host('h1');
    const xml =
      `<domainbackup mode='pull'><server transport='unix' socket='/run/other.sock'/><disks>` +
      `<disk name='vda' backup='yes' type='file'><scratch file='/root/scratch'/></disk></disks></domainbackup>`;
    await h1.writeFile('/root/other.xml', xml);
    await h1.virsh(['backup-begin', 'web', '--backupxml', '/root/other.xml']);
    const capturing = c.berth('image', 'capture', 'web', '--name', 'other:1');
    const why = async () => JSON.stringify(await c.json('job', 'list', '--open'));
    await eventually('it waits', async () => /by somebody else/.test(await why()), 60_000);
    expect(await h1.virsh(['domjobinfo', 'web'])).toMatch(/Backup/);
    await h1.virsh(['domjobabort', 'web']);
    expect(await capturing).toMatchObject({ code: 0 });
    await c.ok('image', 'delete', 'other:1');
  }, 120_000);

  it('clones a VM that is off: its disk, what it is made of, and a name of its own', async () => {
    await c.ok('vm', 'stop', 'web');
    const said = await c.ok('vm', 'clone', 'web', 'web2', '--start');
    expect(said).toMatch(/^vm web +captured/m);
    expect(await c.serial('web2', /^berth-guest: web2 /m)).toBeTruthy();
    expect(await c.serial('web2', /^berth-facts: .* boots 2 /m)).toBeTruthy();
    const hidden = (await c.json<Image[]>('image', 'list', '--all')).filter((i) => i.hidden);
    expect(hidden).toHaveLength(1);
    expect(await c.json<Image[]>('image', 'list')).toHaveLength(2);
  });

  it('goes out as an OVA, and comes back as the very same image, with what it says of the machine', async () => {
    const ova = join(c.dir, 'base.ova');
    await c.ok('image', 'export', 'base:1', ova);
    await c.ok('image', 'import', ova, '--name', 'back');
    const [before, after] = [await image('base:1'), await image('back')];
    expect(after.digest).toBe(before.digest);
    expect(after.defaultSpec.memoryBytes).toBe(128 * 2 ** 20);
    for (const host of ['h1', 'h2']) await nothingLeft(host);
  });

  it('gives up a copy that nothing needs, and never the last one or one below a disk', async () => {
    const files = async (host: string) =>
      (await lab().host(host).run(['sh', '-c', 'ls /var/lib/berth/images | grep -c qcow2 || true'])).trim();
    await c.ok('vm', 'delete', 'live', '--force');
    const all = async () => Number(await files('h1')) + Number(await files('h2'));
    // the clone ran before its host had all of the image
    await eventually('both have it', async () => (await image('base:2')).copies.length === 2, 60_000);
    const before = await all();
    await c.ok('image', 'prune');
    expect((await image('base:2')).copies).toHaveLength(1);
    expect((await image('base:1')).copies.map((k) => k.host)).toContain('h1');
    expect(await all()).toBeLessThan(before);
    expect((await c.ok('image', 'prune', '--dry-run')).split('\n').filter((l) => / goes /.test(l))).toEqual([]);
    expect(await vm('web2')).toMatchObject({ state: 'running' });
  });
});
