/** The main job on real hosts: real libvirt, QEMU, bridges and disks; guests that boot from their own disk and say who they are. */
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
  readonly uuid: string;
  readonly spec: { readonly nics: { readonly mac: string }[] };
}

describeLab('the main job on three real hosts', { hosts: ['h1', 'h2', 'h3'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await Promise.all(lab().hosts.map((h) => c.addLabHost(h)));
    await c.waitUp('h1', 'h2', 'h3');
  }, 180_000);
  afterAll(() => c?.stop());
  const vm = async (name: string) => (await c.json<Vm[]>('vm', 'list')).find((v) => v.name === name);

  it('imports a bootable image and clones it to two VMs on different hosts', async () => {
    const r = await c.berth('image', 'import', guestImagePath(), '--name', 'base');
    expect(r.code, r.err).toBe(0);
    const cloned = await c.berth('vm', 'clone', 'base', 'web', 'db', '--memory', '256MiB', '--disk-size', '2GiB');
    expect(cloned.code, cloned.out + cloned.err).toBe(0);
    expect(cloned.out).toMatch(/^vm web created on h\d +\[ {2}OK {2}\]$/m);
    const [web, db] = [await vm('web'), await vm('db')];
    expect(web?.host).not.toBe(db?.host);
    expect(web?.uuid).not.toBe(db?.uuid);
  });

  it('leaves plain files and a plain domain that the usual tools can read', async () => {
    const web = await vm('web');
    const host = lab().host(web?.host ?? '');
    const xml = await host.virsh(['dumpxml', 'web']);
    expect(xml).toContain(web?.uuid);
    expect(xml).toContain(web?.spec.nics[0]?.mac);
    const disk = /<source file='([^']+\.qcow2)'/.exec(xml)?.[1] ?? '';
    const info = JSON.parse(await host.run(['qemu-img', 'info', '--output=json', '-U', disk])) as Record<
      string,
      unknown
    >;
    expect(info).toMatchObject({ format: 'qcow2', 'virtual-size': 2 * 2 ** 30, 'backing-filename-format': 'qcow2' });
  });

  it('starts them: each guest boots from its own disk and knows its own name', async () => {
    const r = await c.berth('vm', 'start', 'web', 'db');
    expect(r.code, r.out + r.err).toBe(0);
    await c.serial('web', /^berth-guest: web /m);
    await c.serial('db', /^berth-guest: db /m);
    expect(await c.serial('web', /disk 2147483648 boots 1/)).toBeTruthy();
    expect((await vm('web'))?.state).toBe('running');
  });

  it('shows what the operator does by hand as well: virsh shutdown changes what is wanted', async () => {
    const db = await vm('db');
    await lab()
      .host(db?.host ?? '')
      .virsh(['shutdown', 'db']);
    await expect.poll(async () => (await vm('db'))?.state, { timeout: 60_000 }).toBe('stopped');
    await c.quiet();
    expect((await vm('db'))?.state).toBe('stopped');
  });

  it('shuts a guest down in order, and starts it again with its disk as it was', async () => {
    expect((await c.berth('vm', 'stop', 'web')).code).toBe(0);
    expect((await vm('web'))?.state).toBe('stopped');
    expect((await c.berth('vm', 'start', 'web')).code).toBe(0);
    await c.serial('web', /boots 2/);
  });

  it('refuses to delete what runs, and removes everything when it may', async () => {
    const web = await vm('web');
    const refused = await c.berth('vm', 'delete', 'web');
    expect(refused).toMatchObject({ code: 4 });
    expect((await c.berth('vm', 'delete', 'db')).code).toBe(0);
    expect((await c.berth('vm', 'delete', 'web', '--force')).code).toBe(0);
    for (const host of lab().hosts) {
      expect(await host.virsh(['list', '--all', '--name'])).toBe('');
      const find = 'cd /var/lib/berth && find volumes staging cache uploads -type f 2>/dev/null || true';
      // what jobs needed goes once the controller has written down that they have ended
      await eventually(`${host.name} keeps nothing`, async () => {
        const left = (await host.run(['sh', '-c', find])).trim();
        if (left !== '') throw new Error(left);
        return true;
      });
    }
    expect(web?.host).toBeTruthy();
  });

  it('never touches a domain that it did not make', async () => {
    const host = lab().host('h1');
    await host.writeFile(
      '/tmp/foreign.xml',
      '<domain type="qemu"><name>foreign</name><memory unit="MiB">64</memory><os><type>hvm</type></os></domain>',
    );
    await host.virsh(['define', '/tmp/foreign.xml']);
    const r = await c.berth('vm', 'clone', 'base', 'foreign', '--host', 'h1');
    expect(r.code).not.toBe(0);
    expect(r.err).toMatch(/foreign/);
    await c.quiet();
    expect(await host.virsh(['list', '--all', '--name'])).toBe('foreign');
    expect(await c.json('vm', 'list')).toEqual([]);
    await host.virsh(['undefine', 'foreign']);
  });

  it('sends the image to each host once, however many clones ask at the same time', async () => {
    const names = Array.from({ length: 9 }, (_, i) => `many-${i}`);
    expect((await c.berth('vm', 'clone', 'base', ...names, '--memory', '96MiB')).code).toBe(0);
    const fetched = (await c.json<{ kind: string; subject: string }[]>('job', 'list', '--limit', '200')).filter(
      (j) => j.kind === 'image.fetch',
    );
    expect(fetched.length).toBeLessThanOrEqual(2);
    const hosts = new Set((await c.json<Vm[]>('vm', 'list')).map((v) => v.host));
    expect(hosts.size).toBe(3);
    expect((await c.berth('vm', 'delete', ...names)).code).toBe(0);
  });
});
