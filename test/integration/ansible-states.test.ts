/** The modules of the Ansible collection where something is not as it should be: VMs in odd states, hosts elsewhere, files that are none. */
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Ansible, type Told } from '../harness/ansible.ts';
import { Cluster } from '../harness/cluster.ts';
import { eventually } from '../harness/processes.ts';

describe('the modules of the Ansible collection, where things are odd', () => {
  let c: Cluster;
  const ansible = new Ansible();
  beforeAll(async () => {
    await ansible.install();
    c = await Cluster.start();
    await c.addSimulated('h1');
    await c.waitUp('h1');
  });
  afterAll(async () => {
    await c?.stop();
    ansible.remove();
  });

  const api = () => ({
    ...{ login_file: join(c.dataDir, 'admin-token'), ca_file: join(c.dataDir, 'trust/ca.pem') },
    api_port: Number(c.httpAddress.split(':')[1]),
  });
  const task = (module: string, given: Readonly<Record<string, unknown>>, ...more: string[]): Promise<Told> =>
    ansible.task<Told>(`berth.berth.${module}`, JSON.stringify({ ...api(), ...given }), ...more);
  const state = async (name: string): Promise<string> =>
    (JSON.parse(await c.ok('vm', 'show', name, '-o', 'json')) as { state: string }).state;

  it('let a VM go on that was suspended, and say that this is a change', async () => {
    await c.ok('vm', 'create', 'odd', '--disk', '1MiB', '--memory', '64MiB', '--start');
    await c.ok('vm', 'suspend', 'odd');
    const on = { name: 'odd', state: 'running' };
    expect(await task('vm', on, '--check')).toMatchObject({ changed: true });
    expect(await task('vm', on)).toMatchObject({ changed: true, vm: { state: 'VM_STATE_RUNNING' } });
    expect(await task('vm', on)).toMatchObject({ changed: false });
  }, 120_000);

  it('take a saved VM for one that is off, and go on with it', async () => {
    await c.ok('vm', 'save', 'odd');
    expect(await task('vm', { name: 'odd', state: 'stopped' })).toMatchObject({ changed: false });
    expect(await state('odd')).toBe('saved');
    expect(await task('vm', { name: 'odd', state: 'running' })).toMatchObject({ changed: true });
  }, 120_000);

  it('stop a suspended VM by force only', async () => {
    await c.ok('vm', 'suspend', 'odd');
    expect((await task('vm', { name: 'odd', state: 'stopped' })).msg).toMatch(/resume it first/);
    expect(await task('vm', { name: 'odd', state: 'stopped', force: true })).toMatchObject({ changed: true });
    expect(await state('odd')).toBe('stopped');
  }, 120_000);

  it('read sizes as the command line does, and refuse what is none, before anything is made', async () => {
    for (const [memory, bytes] of [
      ['2GB', 2_000_000_000],
      ['1.5GiB', 1.5 * 2 ** 30],
    ] as const)
      expect(await task('vm', { name: 'sized', disk_size: '1MiB', memory }, '--check')).toMatchObject({
        vm: { spec: { memoryBytes: String(bytes) } },
      });
    for (const memory of ['inf', '2 GiB 3'])
      expect((await task('vm', { name: 'sized', disk_size: '1MiB', memory })).msg).toMatch(/is no size/);
    expect((await task('vm', { name: 'odd', vcpus: 0 })).msg).toMatch(/vcpus/i);
    expect(await c.ok('vm', 'list', '-o', 'name')).toBe('odd');
  }, 120_000);

  it('say in the words of the controller why a file is no image, also one that is long', async () => {
    const src = join(c.dir, 'evil.qcow2');
    const header = Buffer.alloc(104);
    header.write('QFI\xfb', 'latin1');
    header.writeUInt32BE(3, 4);
    header.writeBigUInt64BE(104n, 8); // where the name of a backing file is
    header.writeUInt32BE(11, 16);
    header.writeUInt32BE(16, 20);
    header.writeBigUInt64BE(1n << 30n, 24);
    header.writeUInt32BE(104, 100);
    writeFileSync(src, Buffer.concat([header, Buffer.from('/etc/passwd'), Buffer.alloc(64 << 20)]));
    const told = await task('image', { name: 'evil:1', src });
    expect(told.failed).toBe(true);
    expect(told.msg).toMatch(/backing file|damaged/);
    expect(told.msg).not.toMatch(/does not answer/);
    expect(await c.ok('image', 'list', '-o', 'name')).toBe('');
  }, 120_000);

  it('list from a cache, where that is wanted, and anew when it is gone', async () => {
    const cache = {
      cache: true,
      cache_plugin: 'jsonfile',
      cache_connection: join(ansible.dir, 'cache'),
      cache_timeout: 3600,
    };
    const keyed_groups = [{ key: 'berth_state', prefix: 'is' }];
    const file = join(ansible.dir, 'cached.berth.yml');
    writeFileSync(
      file,
      JSON.stringify({ plugin: 'berth.berth.berth', include: ['vms'], keyed_groups, ...api(), ...cache }),
    );
    const listed = async (): Promise<unknown> => {
      const found = JSON.parse(await ansible.run('ansible-inventory', ['-i', file, '--list'])) as {
        readonly is_stopped?: { readonly hosts: readonly string[] };
      };
      return found.is_stopped?.hosts;
    };
    expect(await listed()).toEqual(['odd']);
    await c.ok('vm', 'create', 'newer', '--disk', '1MiB');
    expect(await listed()).toEqual(['odd']);
    rmSync(join(ansible.dir, 'cache'), { recursive: true });
    expect(await listed()).toEqual(['newer', 'odd']);
    await c.ok('vm', 'delete', 'newer');
  }, 120_000);

  it('list with a login file that is in a vault', async () => {
    const [password, login] = [join(ansible.dir, 'vault-password'), join(ansible.dir, 'vaulted.login')];
    writeFileSync(password, 'open sesame\n');
    copyFileSync(api().login_file, login);
    await ansible.run('ansible-vault', ['encrypt', '--vault-password-file', password, login]);
    const file = join(ansible.dir, 'vaulted.berth.yml');
    writeFileSync(file, JSON.stringify({ plugin: 'berth.berth.berth', ...api(), login_file: login }));
    const listed = await ansible.run('ansible-inventory', ['-i', file, '--vault-password-file', password, '--list']);
    expect(listed).toMatch(/"h1"/);
  }, 120_000);

  it('move a host to where it is reached now, and say where it was looked for when it is not up', async () => {
    const { address } = JSON.parse(await c.ok('host', 'show', 'h1', '-o', 'json')) as { address: string };
    const moved = { name: 'h1', address: 'localhost:' + address.split(':')[1] };
    expect(await task('host', { name: 'h1', address })).toMatchObject({ changed: false });
    expect(await task('host', moved, '--check')).toMatchObject({ changed: true, host: { address: moved.address } });
    expect(await task('host', { ...moved, state: 'up' })).toMatchObject({ changed: true, host: moved });
    expect(await task('host', moved)).toMatchObject({ changed: false });
    const wrong = await task('host', { name: 'h1', address: '127.0.0.1:1', state: 'up', wait_seconds: 8 });
    expect(wrong.msg).toMatch(/^host h1 is not up after 8 s.* at 127\.0\.0\.1:1: .+/);
    expect(await task('host', { name: 'h1', address, state: 'up' })).toMatchObject({ changed: true });
  }, 120_000);

  it('claim nothing of a VM whose host is silent, forget it by force, and then the host', async () => {
    await c.ok('vm', 'start', 'odd');
    await c.agents.get('h1')?.end('SIGKILL');
    await eventually('it is not known', async () => (await state('odd')) === 'unknown' || undefined);
    for (const more of [[], ['--check']])
      expect((await task('vm', { name: 'odd', state: 'stopped' }, ...more)).msg).toMatch(
        /odd is unknown: its host does not answer/,
      );
    expect((await task('vm', { name: 'odd', state: 'absent' })).msg).toMatch(/its host does not answer/i);
    expect(await task('vm', { name: 'odd', state: 'absent', force: true })).toMatchObject({ changed: true });
    expect(await c.ok('vm', 'list', '-o', 'name')).toBe('');
    expect((await task('host', { name: 'h1', state: 'absent' })).msg).toMatch(/still to be removed/);
    expect(await task('host', { name: 'h1', state: 'absent', force: true })).toMatchObject({ changed: true });
    expect(await c.ok('host', 'list', '-o', 'name')).toBe('');
  }, 180_000);
});
