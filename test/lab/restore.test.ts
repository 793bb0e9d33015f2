/**
 * A restore on real hosts: the controller's directory is lost together with a day's work; the backup of before comes back, hosts
 * return by themselves, guests run on all the while, and what changed since is decided by a person.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually, PROGRAMS, run } from '../harness/processes.ts';

describeLab('a restored controller and real hosts', { hosts: ['h1', 'h2', 'h3'] }, (lab) => {
  let c: Cluster;
  let file = '';
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    file = join(c.dir, 'yesterday.backup');
    await Promise.all(lab().hosts.map((h) => c.addLabHost(h)));
    await c.waitUp('h1', 'h2', 'h3');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
    for (const [vm, host] of [
      ['runs', 'h1'],
      ['goes', 'h2'],
      ['turned-off', 'h3'],
      ['turned-on', 'h3'],
    ] as const)
      await c.ok('vm', 'clone', 'base', vm, '--host', host, '--memory', '128MiB');
    await c.ok('vm', 'start', 'runs', 'turned-off');
    await c.serial('runs', /^berth-guest: runs /m);
  }, 300_000);
  afterAll(() => c?.stop());

  const state = async (vm: string) => (await c.json<{ state: string }>('vm', 'show', vm)).state;
  const qemu = async (host: string, vm: string) => lab().host(host).pids(`qemu-system-x86_64.*guest=${vm}`);
  const answers = () => eventually('the controller answers', async () => (await c.berth('host', 'list')).code === 0);
  let before: Record<string, unknown> = {};
  let pids: Record<string, unknown> = {};

  it('is backed up while it works', async () => {
    const passphrase = join(c.dir, 'admin-token-of-nobody');
    const made = await run(PROGRAMS.controller, ['backup', '--data-dir', c.dataDir, '--to', file]);
    expect(made.code, made.err).toBe(0);
    expect(made.out).toMatch(/3 hosts, 4 VMs, 1 images/);
    const none = await run(PROGRAMS.controller, ['backup', 'verify', file, '--passphrase-file', passphrase]);
    expect(none.code).not.toBe(0);
    const verified = await run(PROGRAMS.controller, ['backup', 'verify', file]);
    expect(verified.out).toMatch(/is whole/);
  });

  it('comes back without a guest noticing, and without doing anything unasked', async () => {
    await c.ok('vm', 'clone', 'base', 'new', '--host', 'h2', '--memory', '128MiB');
    await c.ok('vm', 'start', 'new', 'turned-on');
    await c.ok('vm', 'stop', 'turned-off', '--force');
    await c.ok('vm', 'delete', 'goes');
    await c.serial('new', /^berth-guest: new /m);
    const { id, uuid, spec } = await c.json<Record<string, unknown>>('vm', 'show', 'new');
    before = { id, uuid, spec };
    pids = { runs: await qemu('h1', 'runs'), new: await qemu('h2', 'new'), on: await qemu('h3', 'turned-on') };

    await c.controller.end('SIGKILL');
    rmSync(c.dataDir, { recursive: true });
    const done = await run(PROGRAMS.controller, ['restore', file, '--data-dir', c.dataDir]);
    expect(done.code, done.err).toBe(0);
    c.controller.start();
    await answers();
    await c.waitUp('h1', 'h2', 'h3');

    expect({ runs: await qemu('h1', 'runs'), new: await qemu('h2', 'new'), on: await qemu('h3', 'turned-on') }).toEqual(
      pids,
    );
    expect(await state('runs')).toBe('running');
    expect(await state('goes')).toBe('missing');
    expect(await state('turned-on')).toBe('running');
    expect(await state('turned-off')).toBe('stopped');
    const review = await c.ok('host', 'review');
    expect(review).toMatch(/vm +goes +gone +gone from h2; its disks are gone too/);
    expect(review).toMatch(/vm +new +found +running, 1 vCPU, 128 MiB/);
    expect(review).toMatch(/vm +turned-on +power/);
    expect(review).toMatch(/vm +turned-off +power/);
  });

  it('adopts what was made since, forgets what is gone, and works as before', async () => {
    await c.ok('vm', 'adopt', 'new');
    expect(await c.json('vm', 'show', 'new')).toMatchObject({ ...before, state: 'running', host: 'h2' });
    await c.ok('vm', 'delete', 'goes');
    await c.ok('host', 'accept', 'h1', 'h2', 'h3');
    for (const h of ['h1', 'h2', 'h3']) expect(await c.ok('host', 'review', h)).toMatch(/: as the inventory has it$/);
    expect(await qemu('h2', 'new')).toEqual(pids['new']);
    await c.ok('vm', 'clone', 'base', 'again', '--memory', '128MiB');
    await c.ok('vm', 'start', 'again');
    await c.serial('again', /^berth-guest: again /m);

    // by the spec that was read back: the domain is as Berth made it, and boots from its own disk and seed
    await c.ok('vm', 'stop', 'new', '--force');
    await c.ok('vm', 'start', 'new');
    await eventually(
      'new boots a second time',
      async () => {
        const said = (await c.berth('vm', 'log', 'new')).out.match(/^berth-guest: new /gm);
        return (said?.length ?? 0) >= 2;
      },
      120_000,
    );
    await c.ok('vm', 'delete', 'new', 'runs', 'again', 'turned-on', 'turned-off', '--force');
    await c.quiet();
    for (const host of lab().hosts) {
      expect((await host.virsh(['list', '--all', '--name'])).trim()).toBe('');
      expect((await host.run(['sh', '-c', 'ls /var/lib/berth/volumes'])).trim()).toBe('');
    }
  });
});
