/** The modules of the Ansible collection against a controller with simulated hosts: what they change, what they leave, how they refuse. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Ansible } from '../harness/ansible.ts';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';

interface Told {
  readonly changed?: boolean;
  readonly failed?: boolean;
  readonly msg?: string;
}

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

  /** One task on this machine; in check mode when asked for. */
  async function task(module: string, given: Readonly<Record<string, unknown>>, ...more: string[]): Promise<Told> {
    const files = { login_file: join(c.dataDir, 'admin-token'), ca_file: join(c.dataDir, 'trust/ca.pem') };
    const api = { ...files, api_port: Number(c.httpAddress.split(':')[1]) };
    const args = JSON.stringify({ ...api, ...given });
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

  it('refuse in the words of the controller, or in their own', async () => {
    const refused: [string, Record<string, unknown>, RegExp][] = [
      ['vm', { name: 'x', image: 'nosuch' }, /image nosuch/],
      ['vm', { name: 'x' }, /without image or disk_size/],
      ['vm', { name: 'x', disk_size: 'large' }, /large is no size/],
      ['image', { name: 'x:1', src: '/nonexistent' }, /src \/nonexistent is no file/],
      ['host', { name: 'h8' }, /without an address it cannot be added/],
      ['vm', { name: 'x', login_file: '/nonexistent' }, /the login file cannot be read/],
      ['vm', { name: 'x', login_file: '/etc/hostname' }, /is no login line/],
      ['vm', { name: 'x', ca_file: '/etc/hostname' }, /the CA file .* cannot be used/],
      ['vm', { name: 'x', api_port: 1 }, /does not answer/],
    ];
    for (const [module, args, words] of refused) {
      const told = await task(module, args);
      expect(told.failed, JSON.stringify(args)).toBe(true);
      expect(told.msg).toMatch(words);
    }
  }, 120_000);
});
