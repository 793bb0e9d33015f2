/**
 * A real ansible-playbook over SSH makes a cluster of bare machines, and the main job runs on it; a host is added, both are upgraded
 * with guests that run, one is removed. Machine h1 is the controller's and a host; the packages are those of this checkout.
 */
import { linkSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureManagedImage } from '@berth/deploy/lab/managed-image.ts';
import { startLab, removeLab, type Lab } from '@berth/deploy/lab/lab.ts';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { findRoot } from '@berth/deploy/setup/root.js';
import { Ansible, type Played } from '../harness/ansible.ts';
import { describeWhereLabsRun, ownLabel, removeLeftovers } from '../harness/lab.ts';
import { eventually } from '../harness/processes.ts';

const MAIN_JOB = join(findRoot(), 'test/lab/ansible/main-job.yml');
const BASE = '/root/base.qcow2';
const UNIT_HAS = '/etc/systemd/system/berth-agent.service.d/ansible.conf';
/** h2 is one that somebody has set up otherwise. */
const OTHER = { dataDir: '/srv/berth', listen: '0.0.0.0:7544', peerListen: '0.0.0.0:7545' };
const CONFIG = `{{ {'domainType': 'qemu'} | combine(${JSON.stringify(OTHER)} if inventory_hostname == 'h2' else {}) }}`;

describeWhereLabsRun('Ansible', () => {
  const label = ownLabel();
  let ansible: Ansible;
  let lab: Lab;
  let built: string;
  const berth = async (...args: string[]) => (await lab.host('h1').run(['berth', ...args])).trim();
  const debs = (version: string) => join(ansible.dir, version);

  async function make(version: string, ...only: string[]): Promise<void> {
    const which = only.flatMap((name) => ['--only', name]);
    const args = ['--out', debs(version), '--compress', 'none', '--version', version, ...which];
    await execa(process.execPath, [join(findRoot(), 'deploy/package.js'), ...args]);
  }
  function take(version: string, ...hosts: string[]): void {
    const groups = { berth_controller: [lab.host('h1')], berth_hosts: hosts.map((name) => lab.host(name)) };
    ansible.inventory(groups, { berth_packages_dir: debs(version), berth_agent_config: CONFIG });
  }
  /** Which hosts the rules let reach the port for images. */
  const peers = async (name: string): Promise<string[]> => {
    const rules = await lab.host(name).run(['nft', 'list', 'chain', 'inet', 'berth', 'input']);
    const found = [...rules.matchAll(/saddr (\S+) tcp dport 7445 accept/g)].map(([, address = '']) => address);
    return lab.hosts.filter((h) => found.includes(h.address)).map((h) => h.name);
  };
  function well(played: Played): Played {
    expect(played.code, played.out.slice(-4000)).toBe(0);
    return played;
  }

  beforeAll(async () => {
    await removeLeftovers();
    ansible = new Ansible();
    built = await ansible.install();
    await make('9.0.0');
    lab = await startLab({ hosts: ['h1', 'h2'], init: 'systemd', image: await ensureManagedImage(), label });
    await Promise.all(lab.hosts.map((host) => ansible.letIn(host)));
    take('9.0.0', 'h1', 'h2');
  }, 300_000);
  afterAll(async () => {
    await removeLab(label);
    ansible?.remove();
  });

  it('takes the collection, and ansible-lint finds no fault with it at its production profile', async () => {
    expect(built).toMatch(/Created collection for berth\.berth/);
    const lint = ['--offline', '--profile', 'production', '--nocolor', '-q'];
    expect(await ansible.run('ansible-lint', lint, ansible.collection)).toBe('');
  });

  it('says in check mode what it would do, and does none of it', async () => {
    const would = well(await ansible.play('berth.berth.site', '--check', '--limit', 'h1'));
    expect(would.changed['h1']).toBeGreaterThan(0);
    expect((await lab.host('h1').exec(['which', 'berth', 'berth-agent', 'berth-controller'])).stdout).toBe('');
  });

  it('makes a cluster', async () => {
    take('9.0.0', 'h1');
    const played = well(await ansible.play('berth.berth.site'));
    take('9.0.0', 'h1', 'h2');
    expect(played.out).not.toMatch(/berth-join:1:/);
    expect(JSON.parse(await berth('host', 'list', '-o', 'json'))).toMatchObject([{ name: 'h1', state: 'up' }]);
    expect(await lab.host('h1').run(['find', '/run', '/etc/berth', '-name', '*join*'])).toBe('');
  });

  it('adds a host, and then changes nothing any more', async () => {
    const limited = await ansible.play('berth.berth.add_host', '-e', 'berth_add=h2', '--limit', 'h2');
    expect([limited.code, limited.out]).toEqual([2, expect.stringMatching(/say -e berth_add=NAME, and no --limit/)]);
    expect(await peers('h1')).toEqual(['h1']);
    well(await ansible.play('berth.berth.add_host', '-e', 'berth_add=h2'));
    expect(await peers('h1')).toEqual(['h1', 'h2']);
    expect(await berth('host', 'list', '-o', 'name')).toBe('h1\nh2');
    expect(well(await ansible.play('berth.berth.site')).changed).toEqual({ h1: 0, h2: 0 });
  });

  it('lets nobody but controllers and hosts reach the ports of the agents', async () => {
    const reach = (port: number) =>
      execa('timeout', ['3', 'bash', '-c', `: </dev/tcp/${lab.host('h2').address}/${port}`], { reject: false });
    expect((await reach(22)).exitCode).toBe(0);
    for (const port of [7544, 7545]) expect((await reach(port)).exitCode, String(port)).not.toBe(0);
    const inside = `timeout 3 bash -c ': </dev/tcp/${lab.host('h2').address}/7544'`;
    expect((await lab.host('h1').exec(['sh', '-c', inside])).exitCode).toBe(0);
  });

  it('does the main job with its modules: once, and told before', async () => {
    await lab.host('h1').copyIn(guestImagePath(), BASE);
    const args = ['-e', `base=${BASE}`];
    expect(well(await ansible.play(MAIN_JOB, ...args, '--check', '--diff')).out).toMatch(/\+ +"power": "on"/);
    expect(await berth('vm', 'list', '-o', 'name')).toBe('');
    expect(well(await ansible.play(MAIN_JOB, ...args, '--tags', 'image')).changed).toEqual({ h1: 1 });
    await berth('image', 'push', 'base', '--all');
    expect(well(await ansible.play(MAIN_JOB, ...args)).changed).toEqual({ h1: 3 });
    expect(well(await ansible.play(MAIN_JOB, ...args)).changed).toEqual({ h1: 0 });
    expect(await berth('vm', 'show', 'vm-h1')).toMatch(/ on lan \(bridge br0\)/);
    for (const name of ['vm-h1', 'vm-h2'])
      await eventually(
        `${name} boots`,
        async () => (await berth('vm', 'log', name)).includes(`berth-guest: ${name} `),
        120_000,
      );
    const refused = await ansible.play('berth.berth.remove_host', '-e', 'berth_remove=h2');
    expect(refused.out).toMatch(/vm-h2/);
    expect(refused.code).toBe(2);
    expect(await peers('h1')).toEqual(['h1', 'h2']);
  });

  it('lists VMs and hosts as an inventory', async () => {
    for (const [name, path] of [
      ['login', 'admin-token'],
      ['ca.pem', 'trust/ca.pem'],
    ] as const)
      await lab.host('h1').copyOut(`/var/lib/berth-controller/${path}`, join(ansible.dir, name));
    const config = { plugin: 'berth.berth.berth', login_file: 'login', ca_file: 'ca.pem' };
    const file = join(ansible.dir, 'lab.berth.yml');
    const paths = { login_file: join(ansible.dir, 'login'), ca_file: join(ansible.dir, 'ca.pem') };
    writeFileSync(file, JSON.stringify({ ...config, ...paths }));
    const listed = await ansible.run('ansible-inventory', ['-i', file, '--list']);
    // what others have written is marked, so that nothing in it is run
    const plain = (_: string, value: { __ansible_unsafe?: string } | null) => value?.__ansible_unsafe ?? value;
    const found = JSON.parse(listed, plain) as Record<string, unknown>;
    expect(found).toMatchObject({
      berth_hosts: { hosts: ['h1', 'h2'] },
      berth_vms: { hosts: ['vm-h1', 'vm-h2'] },
      label_tier_web: { hosts: ['vm-h1', 'vm-h2'] },
      _meta: { hostvars: { 'vm-h2': { berth_host: 'h2', berth_state: 'running' } } },
    });
  });

  it('upgrades host by host, and the guests go on', async () => {
    await make('9.1.0', 'berth', 'berth-agent', 'berth-controller');
    for (const file of readdirSync(debs('9.0.0')).filter((name) => name.startsWith('berth-runtime_')))
      linkSync(join(debs('9.0.0'), file), join(debs('9.1.0'), file));
    take('9.1.0', 'h1', 'h2');
    const guests = () => Promise.all(lab.hosts.map((host) => host.pids('^/usr/bin/qemu-system-')));
    const before = await guests();
    well(await ansible.play('berth.berth.upgrade'));
    for (const host of lab.hosts)
      expect(await host.run(['dpkg-query', '-W', '-f', '${Version}', 'berth-agent'])).toBe('9.1.0');
    expect(await guests()).toEqual(before);
  });

  it('removes a host, and is done when it is gone', async () => {
    await berth('vm', 'delete', '--force', 'vm-h2');
    const removed = well(await ansible.play('berth.berth.remove_host', '-e', 'berth_remove=h2'));
    expect(removed.out).toMatch(/h2 are kept in \/srv\/berth\. .*rm -r \/srv\/berth/);
    expect(await berth('host', 'list', '-o', 'name')).toBe('h1');
    expect(await peers('h1')).toEqual(['h1']);
    const left = await lab
      .host('h2')
      .exec(['ls', '/usr/bin/berth-agent', '/srv/berth/identity', '/etc/berth/firewall.nft', UNIT_HAS]);
    expect(left.stdout).toBe('');
    expect(well(await ansible.play('berth.berth.remove_host', '-e', 'berth_remove=h2')).changed).toEqual({
      h1: 0,
      h2: 0,
    });
  });

  it('removes a host that is gone for ever, and the others let it in no more', async () => {
    await berth('host', 'add', 'h2', lab.host('h2').address, '--token-file', '/root/h2.token');
    well(await ansible.play('berth.berth.site', '--limit', 'h1'));
    expect(await peers('h1')).toEqual(['h1', 'h2']);
    await lab.host('h2').crash();
    const { out } = well(await ansible.play('berth.berth.remove_host', '-e', 'berth_remove=h2'));
    expect(out).toMatch(/h2 cannot be reached: it is no host any more/);
    expect(await berth('host', 'list', '-o', 'name')).toBe('h1');
    expect(await peers('h1')).toEqual(['h1']);
  });
});
