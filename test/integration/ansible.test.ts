/** The modules of the Ansible collection against a controller with simulated hosts: what they change, what they leave, how they refuse. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { execa } from 'execa';
import { decodeLoginLine, encodeLoginLine } from '@berth/shared/trust/lines.ts';
import { Ansible, type Told } from '../harness/ansible.ts';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';

describe('the modules of the Ansible collection', () => {
  let c: Cluster;
  const ansible = new Ansible();
  beforeAll(async () => {
    await ansible.install();
    c = await Cluster.start();
    await c.addSimulated('h1');
    await c.waitUp('h1');
    writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  });
  afterAll(async () => {
    await c?.stop();
    ansible.remove();
  });

  /** How the controller is reached. */
  const api = () => ({
    login_file: join(c.dataDir, 'admin-token'),
    ca_file: join(c.dataDir, 'trust/ca.pem'),
    api_port: Number(c.httpAddress.split(':')[1]),
  });
  /** One task on this machine; in check mode when asked for. */
  async function task(module: string, given: Readonly<Record<string, unknown>>, ...more: string[]): Promise<Told> {
    const args = JSON.stringify({ ...api(), ...given });
    return ansible.task<Told>(`berth.berth.${module}`, args, ...more);
  }

  it('import an image once, and give it tags', async () => {
    const image = { name: 'base:1', src: join(c.dir, 'base.img') };
    expect(await task('image', image, '--check')).toMatchObject({ changed: true });
    expect(await c.ok('image', 'list', '-o', 'name')).toBe('');
    expect(await task('image', image)).toMatchObject({ changed: true });
    expect(await task('image', image)).toMatchObject({ changed: false });
    const tagged = { ...image, tags: ['stable'] };
    expect(await task('image', tagged)).toMatchObject({ changed: true, image: { tags: ['latest', 'stable'] } });
    expect(await task('image', tagged)).toMatchObject({ changed: false });
  }, 120_000);

  it('make, change, stop and remove a VM, and tell before what they would do', async () => {
    const web = { name: 'web', image: 'base', memory: '64MiB', state: 'running' };
    expect(await task('vm', web)).toMatchObject({ changed: true, vm: { state: 'VM_STATE_RUNNING' } });
    expect(await task('vm', web)).toMatchObject({ changed: false });
    const more = { name: 'web', vcpus: 2, labels: { tier: 'web' }, state: 'stopped', force: true };
    const vm = {
      spec: { vcpus: 2, memoryBytes: String(64 * 2 ** 20), labels: { tier: 'web' } },
      state: 'VM_STATE_STOPPED',
    };
    expect(await task('vm', more, '--check')).toMatchObject({ changed: true, vm });
    expect(await c.ok('vm', 'show', 'web', '-o', 'json')).toMatch(/"running"/);
    expect(await task('vm', more)).toMatchObject({ changed: true, vm });
    expect(await task('vm', more)).toMatchObject({ changed: false });
    expect(await task('vm', { name: 'web', state: 'absent' })).toMatchObject({ changed: true });
    expect(await task('vm', { name: 'web', state: 'absent' })).toMatchObject({ changed: false });
  }, 120_000);

  it('keep a host out of placement and take it back', async () => {
    const out = { name: 'h1', maintenance: true, labels: { zone: 'b' } };
    expect(await task('host', out, '--check')).toMatchObject({ changed: true });
    expect(await task('host', out)).toMatchObject({ changed: true });
    expect(await task('host', out)).toMatchObject({ changed: false });
    expect(await task('host', { name: 'h1', maintenance: false })).toMatchObject({ changed: true });
  }, 120_000);

  it('make a join token only when it is asked for', async () => {
    const told = await task('host', { name: 'h9', address: '127.0.0.9', join_token: 'if_needed' });
    expect(told).toMatchObject({ changed: true, join_token: expect.stringMatching(/^berth-join:1:/) as string });
    expect(await task('host', { name: 'h9' })).not.toHaveProperty('join_token');
    expect(await task('host', { name: 'h9', state: 'absent' })).toMatchObject({ changed: true });
  }, 120_000);

  it('make, change and delete a network, put a VM into it, and leave what VMs rely on', async () => {
    const db = { name: 'db', isolated: true, addresses: ['10.1.0.1/24'] };
    const network = { kind: 'isolated', bridge: 'db', addresses: ['10.1.0.1/24'] };
    expect(await task('network', db, '--check')).toMatchObject({ changed: true, network });
    expect(await c.ok('network', 'list', '-o', 'name')).toBe('');
    expect(await task('network', db)).toMatchObject({ changed: true, network });
    expect(await task('network', db)).toMatchObject({ changed: false });
    const more = { ...db, addresses: ['10.1.1.1/24'], labels: { zone: 'a' }, hosts: ['h1'] };
    const then = { addresses: ['10.1.1.1/24'], labels: { zone: 'a' }, hosts: ['h1'] };
    expect(await task('network', more, '--check')).toMatchObject({ changed: true, network: then });
    expect(await task('network', more)).toMatchObject({ changed: true, network: then });
    expect(await task('network', more)).toMatchObject({ changed: false });
    const vbr = { name: 'vbr', nat: '192.168.100.254/24', dhcp_range: '192.168.100.128-192.168.100.200', stp: true };
    expect(await task('network', vbr)).toMatchObject({ changed: true, network: { kind: 'nat', bridge: 'vbr' } });
    expect(await task('network', vbr)).toMatchObject({ changed: false });
    const six = { name: 'six', nat: '10.6.0.1/24', ipv6: '2001:DB8:0:6::1/64', dhcp_range: '10.6.0.10 - 10.6.0.20' };
    expect(await task('network', six)).toMatchObject({ changed: true });
    expect(await task('network', six)).toMatchObject({ changed: false });
    expect((await task('network', { ...vbr, nat: '10.2.0.1/24' })).msg).toMatch(/and stays: make a network beside it/);
    const pg = { name: 'pg', disk_size: '10MiB', network: 'db' };
    expect(await task('vm', { ...pg, network: 'later' }, '--check')).toMatchObject({ changed: true });
    expect(await task('vm', pg)).toMatchObject({ changed: true, vm: { spec: { nics: [{ network: 'db' }] } } });
    expect((await task('network', { name: 'db', state: 'absent' })).msg).toMatch(/in use: vm pg/);
    await task('vm', { name: 'pg', state: 'absent' });
    for (const name of ['db', 'vbr', 'six'])
      expect(await task('network', { name, state: 'absent' })).toMatchObject({ changed: true });
    expect(await task('network', { name: 'db', state: 'absent' })).toMatchObject({ changed: false });
  }, 180_000);

  it('refuse in the words of the controller, or in their own', async () => {
    const refused: [string, Record<string, unknown>, RegExp][] = [
      ['vm', { name: 'x', image: 'nosuch' }, /image nosuch/],
      ['vm', { name: 'x' }, /without image or disk_size/],
      ['vm', { name: 'x', disk_size: 'large' }, /large is no size/],
      ['network', { name: 'x' }, /which bridge of its hosts/],
      ['network', { name: 'x', nat: '10.0.0.1/24', isolated: true }, /choose one of them/],
      ['image', { name: 'x:1', src: '/nonexistent' }, /src \/nonexistent is no file/],
      ['host', { name: 'h8' }, /without an address it cannot be added/],
      ['vm', { name: 'x', login_file: '/nonexistent' }, /the login file cannot be read/],
      ['vm', { name: 'x', login_file: '/etc/hostname' }, /is no login line/],
      ['vm', { name: 'x', ca_file: '/etc/hostname' }, /the CA file .* cannot be used/],
      ['vm', { name: 'x', api_port: 1 }, /does not answer: .*refused.* api_host: localhost on its own machine/],
    ];
    for (const [module, args, words] of refused) {
      const told = await task(module, args);
      expect(told.failed, JSON.stringify(args)).toBe(true);
      expect(told.msg).toMatch(words);
    }
  }, 120_000);

  it('reach a controller that listens for its own machine alone, when they are told so', async () => {
    const line = decodeLoginLine(readFileSync(join(c.dataDir, 'admin-token'), 'utf8'));
    const login_file = join(c.dir, 'far-login');
    writeFileSync(login_file, `${encodeLoginLine({ ...line, controller: '127.0.0.9:7443' })}\n`);
    expect((await task('host', { name: 'h1', login_file })).msg).toMatch(/127\.0\.0\.9:\d+ does not answer/);
    expect(await task('host', { name: 'h1', login_file, api_host: 'localhost' })).toMatchObject({ changed: false });
    // all modules, by what a play says once
    const { ca_file, api_port } = api();
    const defaults = { 'group/berth.berth.api': { login_file, ca_file, api_host: 'localhost', api_port } };
    const tasks = [
      { 'berth.berth.host': { name: 'h1' } },
      ...['vm', 'image', 'network'].map((name) => ({ [`berth.berth.${name}`]: { name: 'nosuch', state: 'absent' } })),
    ];
    const play = join(ansible.dir, 'defaults.yml');
    writeFileSync(
      play,
      JSON.stringify([{ hosts: 'localhost', gather_facts: false, module_defaults: defaults, tasks }]),
    );
    const local = ['-c', 'local', '-e', 'ansible_python_interpreter=/usr/bin/python3'];
    const said = await ansible.run('ansible-playbook', ['-i', 'localhost,', ...local, play]);
    expect(said).toMatch(/ok=4 +changed=0/);
  }, 60_000);

  it('list VMs without running what their labels say, or giving another machine the address of a VM', async () => {
    const note = "note={{ lookup('pipe', 'expr 40 + 2') }}";
    await c.ok('vm', 'create', 'web2', '--disk', '1MiB', '--label', note);
    for (const name of ['h1', 'ctl', 'localhost'])
      await c.ok('vm', 'create', name, '--disk', '1MiB', '--label', 'mine=yes');
    const about = { login_file: join(c.dataDir, 'admin-token'), ca_file: join(c.dataDir, 'trust/ca.pem') };
    const inventory = { plugin: 'berth.berth.berth', ...about, api_port: Number(c.httpAddress.split(':')[1]) };
    const file = join(ansible.dir, 'all.berth.yml');
    writeFileSync(file, JSON.stringify({ ...inventory, keyed_groups: [{ key: 'berth_labels.note', prefix: 'n' }] }));
    const message = JSON.stringify({
      msg: '{{ berth_kind | default(0) }} {{ berth_labels | default(0) }} {{ group_names }}',
    });
    const said = await ansible.run('ansible', [
      ...['-i', 'ctl,', '-i', file, 'all:localhost', '-c', 'local', '-m', 'debug', '-a', message],
    ]);
    expect(said).toMatch(/h1 \| SUCCESS[^]*?"host /);
    expect(said).toContain('web2 | SUCCESS');
    expect(said).toContain('expr 40 + 2');
    expect(said).not.toContain('42');
    expect(said).not.toContain('mine');
  }, 120_000);

  it('open ports in firewalld and ufw, tell so in check mode, and close those that are used no more', async () => {
    const [state, added] = [join(ansible.dir, 'open'), join(ansible.dir, 'added')];
    const program = (name: string, lines: readonly string[]) =>
      writeFileSync(join(ansible.dir, name), `#!/bin/sh\n${lines.join('\n')}\n`, { mode: 0o755 });
    const script = [
      `case "$*" in --state) exit 0;; esac`,
      `when=now; [ "$1" = --permanent ] && { when=boot; shift; }`,
      `port="$when $2"; touch ${state}`,
      `case "$1" in`,
      `  --query-port) grep -qx "$port" ${state};;`,
      `  --add-port) echo "$port" >>${state};;`,
      `  --remove-port) grep -vx "$port" ${state} >${state}.new; mv ${state}.new ${state};;`,
      `esac`,
    ];
    program('firewall-cmd', script);
    // as the ufw of Debian 12 says it, which is on here
    program('ufw', [
      `case "$1" in`,
      `  show) echo "Added user rules (see 'ufw status' for running firewall):"; cat ${added};;`,
      `  allow) echo "ufw allow $2" >>${added};;`,
      `  delete) grep -vx "ufw allow $3" ${added} >${added}.new; mv ${added}.new ${added};;`,
      `esac`,
    ]);
    program('grep', [`case "$*" in *' /etc/ufw/ufw.conf') exit 0;; esac`, `exec /usr/bin/grep "$@"`]);
    writeFileSync(added, 'ufw allow 22/tcp\n');
    const play = join(ansible.dir, 'ports.yml');
    const note = join(ansible.dir, 'note');
    let berth_ports = [7444, 7445];
    const ports = async (open: boolean, ...more: string[]) => {
      const role = { name: 'berth.berth.packages', tasks_from: 'ports.yml' };
      const vars = {
        berth_ports,
        berth_ports_note: note,
        ansible_connection: 'local',
        ansible_python_interpreter: '/usr/bin/python3',
      };
      const tasks = [{ 'ansible.builtin.include_role': role, vars: { berth_ports_open: open } }];
      const environment = { PATH: `${ansible.dir}:/usr/bin:/bin` };
      writeFileSync(play, JSON.stringify([{ hosts: 'localhost', gather_facts: false, environment, vars, tasks }]));
      const said = await ansible.run('ansible-playbook', ['-i', 'localhost,', play, ...more]);
      return Number(/localhost +: ok=\d+ +changed=(\d+)/.exec(said)?.[1]);
    };
    const lines = () => readFileSync(state, 'utf8').split('\n').filter(Boolean).sort();
    const rules = () => readFileSync(added, 'utf8').replaceAll('ufw allow ', '').trim().split('\n');
    expect(await ports(true, '--check')).toBe(1);
    expect([lines(), rules()]).toEqual([[], ['22/tcp']]);
    expect(await ports(true)).toBe(2);
    expect(lines()).toEqual(['boot 7444/tcp', 'boot 7445/tcp', 'now 7444/tcp', 'now 7445/tcp']);
    expect(rules()).toEqual(['22/tcp', '7444/tcp', '7445/tcp']);
    expect(await ports(true)).toBe(0);
    berth_ports = [7544, 7445];
    expect(await ports(true, '--check')).toBe(1);
    expect(await ports(true)).toBe(3);
    expect(lines()).toEqual(['boot 7445/tcp', 'boot 7544/tcp', 'now 7445/tcp', 'now 7544/tcp']);
    expect(rules()).toEqual(['22/tcp', '7445/tcp', '7544/tcp']);
    // one that broke off after it had opened others
    writeFileSync(note, '7445 7544 9999\n');
    writeFileSync(added, 'ufw allow 9999/tcp\n', { flag: 'a' });
    expect(await ports(true)).toBe(2);
    expect(rules()).toEqual(['22/tcp', '7445/tcp', '7544/tcp']);
    expect(await ports(false, '--check')).toBe(2);
    expect(await ports(false)).toBe(2);
    expect([lines(), rules(), existsSync(note)]).toEqual([[], ['22/tcp'], false]);
    expect(await ports(false)).toBe(0);
  }, 300_000);

  it('install from a folder what was built again as the same version, and nothing that is there as it is', async () => {
    const debs = join(ansible.dir, 'debs');
    const tree = join(debs, 'tree');
    mkdirSync(join(tree, 'DEBIAN'), { recursive: true });
    const fields = [
      'Package: nosuch',
      'Version: 9.0.0',
      'Architecture: all',
      'Maintainer: x <x@packages.invalid>',
      'Description: x',
    ];
    writeFileSync(join(tree, 'DEBIAN/control'), `${fields.join('\n')}\n`);
    writeFileSync(join(tree, 'DEBIAN/md5sums'), 'd41d8cd98f00b204e9800998ecf8427e  usr/share/nosuch\n');
    const deb = join(debs, 'nosuch_9.0.0_all.deb');
    await execa('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', tree, deb]);
    // a dpkg that has it installed, of other files
    const [told, cache] = [join(ansible.dir, 'told'), join(ansible.dir, 'cache')];
    const program = (name: string, line: string) =>
      writeFileSync(join(ansible.dir, name), `#!/bin/sh\n${line}\n`, { mode: 0o755 });
    program('dpkg-query', 'echo installed nosuch 9.0.0');
    // and that another holds at first
    const held = `[ -e ${told}.held ] || { touch ${told}.held; echo 'dpkg: error: dpkg frontend lock was locked' >&2; exit 2; }`;
    program('dpkg', `${held}\necho "$@" >>${told}`);
    const vars = { berth_packages: ['nosuch'], berth_packages_dir: debs, berth_packages_cache: cache };
    const local = { ansible_connection: 'local', ansible_python_interpreter: '/usr/bin/python3' };
    const role = { name: 'berth.berth.packages', tasks_from: 'folder.yml' };
    const environment = { PATH: `${ansible.dir}:/usr/bin:/bin` };
    const tasks = [{ 'ansible.builtin.include_role': role, vars }];
    const play = join(ansible.dir, 'folder.yml');
    writeFileSync(play, JSON.stringify([{ hosts: 'localhost', gather_facts: false, environment, vars: local, tasks }]));
    const changed = async (...more: string[]) =>
      Number(/changed=(\d+)/.exec(await ansible.run('ansible-playbook', ['-i', 'localhost,', play, ...more]))?.[1]);
    expect([await changed('--check'), existsSync(told), existsSync(cache)]).toEqual([3, false, false]);
    expect([await changed(), readFileSync(told, 'utf8')]).toEqual([
      3,
      `--force-confdef --force-confold --install ${cache}/nosuch.deb\n`,
    ]);
    const sha1 = createHash('sha1')
      .update(readFileSync(join(tree, 'DEBIAN/md5sums')))
      .digest('hex');
    const again = async (checksum: string) => {
      const noted = JSON.stringify([{ path: '/var/lib/dpkg/info/nosuch.md5sums', checksum }]);
      const msg = JSON.stringify({ msg: `{{ ['${deb}'] | berth.berth.built_again(${noted}) }}` });
      return (await ansible.task<{ msg: unknown }>('debug', msg)).msg;
    };
    expect([await again(sha1), await again('0'.repeat(40))]).toEqual([[], [deb]]);
  }, 300_000);

  it('write rules of the firewall with addresses, not names, which nobody could resolve while a host boots', async () => {
    const src = join(ansible.collection, 'roles/agent/templates/firewall.nft.j2');
    const [dest, peers] = [join(ansible.dir, 'firewall.nft'), ['localhost', '10.0.0.0/24', '2001:db8::7']];
    const lists = { berth_firewall_controllers: ['localhost'], berth_firewall_peers: peers };
    const given = JSON.stringify({ ...lists, berth_agent_port: 7444, berth_peer_port: 7445 });
    expect(await ansible.task('template', `src=${src} dest=${dest}`, '-e', given)).toMatchObject({ changed: true });
    const rules = readFileSync(dest, 'utf8');
    expect(rules).toMatch(/ip6? saddr (127\.0\.0\.1|::1) tcp dport \{ 7444, 7445 \} accept/);
    expect(rules).toContain('ip saddr 10.0.0.0/24 tcp dport 7445 accept');
    expect(rules).toContain('ip6 saddr 2001:db8::7 tcp dport 7445 accept');
    expect(rules).not.toContain('localhost');
  }, 120_000);
});
