/** Logical networks with real libvirt, dnsmasq and QEMU: NAT with DHCP, an isolated bridge, and what is refused. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { guestShell } from '../harness/guest-shell.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

interface Network {
  readonly onHosts: readonly { readonly host: string; readonly state: string; readonly reason: string }[];
}

describeLab('networks', { hosts: ['h1', 'h2'] }, (lab) => {
  let c: Cluster;
  const h1 = () => lab().host('h1');
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await c.addLabHost(h1());
    await c.waitUp('h1');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base');
  }, 180_000);
  afterAll(() => c?.stop());

  const states = async (name: string) =>
    (await c.json<Network>('network', 'show', name)).onHosts.map((h) => `${h.host} ${h.state}`);

  it('gives guests addresses by DHCP, and a way out through their host', async () => {
    const made = ['--nat', '192.168.100.254/24', '--dhcp', '192.168.100.128-192.168.100.200', '--stp'];
    expect(await c.ok('network', 'create', 'vbr', ...made)).toMatch(/^network vbr created, there on h1 /);
    await c.ok('vm', 'clone', 'base', 'web', '--nic', 'network=vbr', '--memory', '128MiB', '--start');
    await c.serial('web', /^berth-guest: web 192\.168\.100\.(1[2-9]\d|200) /m);
    expect(await c.ok('vm', 'show', 'web')).toMatch(/on vbr \(bridge vbr\)/);
    const xml = await h1().virsh(['net-dumpxml', 'vbr']);
    expect(xml).toContain("<range start='192.168.100.128' end='192.168.100.200'/>");
    expect(xml).toMatch(/<bridge name='vbr' stp='on' delay='0'\/>/);
    // the controller is on the other side of the host
    const [address = '', port = ''] = c.address.split(':');
    const out = `nc -w 5 ${address} ${port} </dev/null && echo reached`;
    expect(await guestShell(c, 'web').ask(out)).toBe('reached');
  });

  it('comes to a host that joins later, and is made again when somebody stops it with virsh', async () => {
    await c.addLabHost(lab().host('h2'));
    await c.waitUp('h2');
    await eventually('h2 has it too', async () => (await states('vbr')).join() === 'h1 active,h2 active', 60_000);
    expect(await lab().host('h2').virsh(['net-list', '--name', '--autostart'])).toContain('vbr');
    await lab().host('h2').virsh(['net-destroy', 'vbr']);
    await eventually('it is up again', async () =>
      (await lab().host('h2').virsh(['net-list', '--name'])).includes('vbr'),
    );
  });

  it('leaves networks, bridges and addresses of others alone', async () => {
    expect(await c.ok('network', 'list', '--foreign')).toMatch(/^h1 +default +nat +\w+ +virbr0 +192\.168\.122\.1\/24/m);
    const refused = async (...args: string[]) => (await c.berth('network', 'create', ...args, '--host', 'h1')).err;
    expect(await refused('default', '--nat', '10.5.0.1/24')).toMatch(/has a network default already/);
    expect(await refused('a', '--nat', '192.168.122.9/24')).toMatch(/overlaps with .* on h1/);
    expect(await refused('b', '--nat', `${h1().address}/24`)).toMatch(/overlaps with address .* on h1/);
    expect(await refused('c', '--isolated', '--bridge', 'br0')).toMatch(/has br0 already, and Berth did not make it/);
    expect(await h1().virsh(['net-list', '--all', '--name'])).toMatch(/^default\s+vbr$/);
  });

  it('makes isolated bridges where they are wanted, places VMs there alone, and is not deleted under them', async () => {
    expect(await c.ok('network', 'create', 'db', '--isolated', '--address', '10.99.0.1/24', '--host', 'h2')).toMatch(
      /there on h2/,
    );
    await c.ok('vm', 'create', 'pg', '--disk', '1GiB', '--nic', 'network=db');
    expect(await c.json<{ host: string }>('vm', 'show', 'pg')).toMatchObject({ host: 'h2' });
    const elsewhere = await c.berth('vm', 'create', 'pg2', '--disk', '1GiB', '--nic', 'network=db', '--host', 'h1');
    expect(elsewhere.err).toMatch(/h1: lacks network db: it is not one of its hosts/);
    expect(await lab().host('h2').run(['ip', '-br', 'address', 'show', 'db'])).toContain('10.99.0.1/24');
    const used = await c.berth('network', 'delete', 'db', 'vbr');
    expect(used.out + used.err).toMatch(/network db is in use: vm pg/);
    expect(used.out + used.err).toMatch(/network vbr is in use: vm web/);
    await c.ok('vm', 'delete', 'pg');
    await c.ok('vm', 'delete', 'web', '--force');
    expect(await c.ok('network', 'delete', 'db', 'vbr')).toMatch(/deleted/);
    expect(await lab().host('h2').run(['ip', '-br', 'link'])).not.toMatch(/^(db|vbr) /m);
    expect(await h1().virsh(['net-list', '--all', '--name'])).toBe('default');
  });
});
