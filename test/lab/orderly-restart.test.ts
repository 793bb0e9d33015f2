/**
 * Restarts as an upgrade does them, in order (SIGTERM) and under load: guests run on, transfers and jobs go on where they were,
 * and nothing is lost or done twice.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { noisyDisk } from '../harness/disk-files.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

/** A transfer takes six seconds: time enough to meet it in its middle, without much work for anybody. */
const BULK_BYTES = 64 * 2 ** 20;
const LINK_BYTES_PER_SECOND = 10 * 2 ** 20;

describeLab('orderly restarts under load', { hosts: ['h1', 'h2'] }, (lab) => {
  let c: Cluster;
  let guest: unknown;
  const qemu = () => lab().host('h2').pids('qemu-system-x86_64.*guest=runs');
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await Promise.all(lab().hosts.map((h) => c.addLabHost(h)));
    await c.waitUp('h1', 'h2');
    await Promise.all(lab().hosts.map((h) => h.limitSending(LINK_BYTES_PER_SECOND)));
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
    await c.ok('vm', 'clone', 'base', 'runs', '--memory', '128MiB', '--host', 'h2');
    await c.ok('vm', 'start', 'runs');
    await c.serial('runs', /^berth-guest: runs /m);
    guest = await qemu();
  }, 240_000);
  afterAll(() => c?.stop());

  async function load(name: string): Promise<void> {
    const file = join(c.dir, `${name}.img`);
    writeFileSync(file, noisyDisk(BULK_BYTES));
    await c.ok('image', 'import', file, '--host', 'h1');
    const many = [1, 2, 3].map((n) => `${name}-${n}`);
    await c.ok('vm', 'clone', name, ...many, '--host', 'h2', '--memory', '96MiB', '--no-wait');
    await c.midTransfer();
  }
  async function allWell(name: string): Promise<void> {
    await c.waitUp('h1', 'h2');
    await c.quiet(180_000);
    for (const n of [1, 2, 3])
      expect(await c.json('vm', 'show', `${name}-${n}`)).toMatchObject({ state: 'stopped', host: 'h2' });
    const jobs = await c.json<{ kind: string; state: string }[]>('job', 'list', '--limit', '200');
    expect(jobs.filter((j) => j.state !== 'succeeded')).toEqual([]);
    expect(await qemu()).toEqual(guest);
    expect(await c.json('vm', 'show', 'runs')).toMatchObject({ state: 'running' });
  }

  it('the controller: its jobs go on', async () => {
    await load('one');
    await c.controller.end('SIGTERM');
    expect(c.controller.output).toMatch(/stopping/);
    c.controller.start();
    await eventually('the controller answers', async () => (await c.berth('host', 'list')).code === 0);
    await allWell('one');
  });

  it('both agents, in the middle of a transfer between them', async () => {
    await load('two');
    for (const name of ['h2', 'h1']) {
      await lab().host(name).stopAgent('SIGTERM');
      await lab().host(name).startAgent();
    }
    await allWell('two');
  });

  it('controller and agents at once', async () => {
    await load('three');
    await Promise.all([c.controller.end('SIGTERM'), ...lab().hosts.map((h) => h.stopAgent('SIGTERM'))]);
    expect(await qemu()).toEqual(guest);
    await Promise.all(lab().hosts.map((h) => h.startAgent()));
    c.controller.start();
    await eventually('the controller answers', async () => (await c.berth('host', 'list')).code === 0);
    await allWell('three');
  });
});
