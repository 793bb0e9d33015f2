/**
 * Hosts whose certificates ran out while nobody could renew them, with guests on them all the while: one was cut off with its
 * agent running, one had its agent down. Each is a certificate fault, and one command and one token make it what it was.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

const SHORT = 'certificates: { hostLifetime: 40s, controllerLifetime: 40s, caLifetime: 1h }\n';

interface Cert {
  readonly purpose: string;
  readonly subject: string;
  readonly state: string;
}

describeLab('hosts whose certificates ran out', { hosts: ['h1', 'h2', 'h3'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()), { config: SHORT });
    await Promise.all(lab().hosts.map((h) => c.addLabHost(h)));
    await c.waitUp('h1', 'h2', 'h3');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h3');
    for (const host of ['h1', 'h2'])
      await c.ok(
        ...['vm', 'clone', 'base', `web-${host}`, '--host', host, '--memory', '128MiB'],
        ...['--run-policy', 'always', '--start'],
      );
    for (const host of ['h1', 'h2']) await c.serial(`web-${host}`, /^berth-guest: web-h\d /m);
  }, 300_000);
  afterAll(() => c?.stop());

  const guests = (h: LabHost) => h.pids('qemu-system-x86_64.*guest=web');
  const active = async (host: string): Promise<string[]> =>
    (await c.json<Cert[]>('cert', 'list'))
      .filter((x) => x.subject === host && x.state === 'active')
      .map((x) => x.purpose);

  it(
    'are a certificate fault and come back by re-enroll, and their guests never notice',
    { timeout: 300_000 },
    async () => {
      const [h1, h2] = [lab().host('h1'), lab().host('h2')];
      const before = [await guests(h1), await guests(h2)];
      expect(before.flat()).toHaveLength(2);
      const started = [await h1.agentPid(), await h1.virsh(['domid', 'web-h1'])];

      await h1.disconnect();
      await h2.stopAgent('SIGKILL');
      await eventually('h1 is unreachable, and nothing worse', async () => (await c.hostState('h1')) === 'unreachable');
      await eventually(
        'both have run out',
        async () => (await active('h1')).length + (await active('h2')).length === 0,
        120_000,
      );
      // as long as nobody answers, nobody can know what is wrong besides
      expect(await c.ok('vm', 'list')).toMatch(/web-h1 +unknown[^]*web-h2 +unknown/);
      await h1.connect();
      await h2.startAgent();
      for (const h of ['h1', 'h2'])
        await eventually(
          `${h} is a certificate fault`,
          async () => (await c.hostState(h)) === 'certificate-fault',
          60_000,
        );
      const listed = await c.ok('host', 'list', '-o', 'wide');
      for (const h of ['h1', 'h2']) {
        expect(listed).toMatch(new RegExp(`${h} .*expired.*berth host re-enroll ${h}`));
        await eventually('the alarm', async () =>
          new RegExp(`host-certificate-fault .*${h}`).test(await c.ok('alarm', 'list')),
        );
      }
      // never counted as dead: no VM is stopped, started, moved or claimed elsewhere
      expect(await c.ok('vm', 'list')).toMatch(/web-h1 +unknown +h1[^]*web-h2 +unknown +h2/);
      expect([await guests(h1), await guests(h2)]).toEqual(before);

      for (const h of [h1, h2]) {
        const enrolled = await h.agentCommand(['enroll'], { input: await c.ok('host', 're-enroll', h.name) });
        expect(enrolled.exitCode, enrolled.stderr).toBe(0);
      }
      await c.waitUp('h1', 'h2', 'h3');
      for (const h of ['h1', 'h2']) expect((await active(h)).sort()).toEqual(['control', 'transfer']);
      await eventually('the alarms are over', async () => !/host-certificate-fault/.test(await c.ok('alarm', 'list')));
      await eventually('both VMs are seen again', async () =>
        /web-h1 +running +h1[^]*web-h2 +running +h2/.test(await c.ok('vm', 'list')),
      );
      await c.quiet();
      expect([await guests(h1), await guests(h2)]).toEqual(before);
      expect([await h1.agentPid(), await h1.virsh(['domid', 'web-h1'])]).toEqual(started);
      for (const vm of ['web-h1', 'web-h2'])
        expect((await c.ok('vm', 'log', vm)).match(/boots \d+/g)).toEqual(['boots 1']);
      expect(await c.ok('event', 'list')).not.toMatch(/vm\.(restarting|crashed|gone|missing)/);
      expect((await guests(lab().host('h3'))).length).toBe(0);
    },
  );

  it('do again what hosts do among themselves: an image travels from the one to the other', async () => {
    writeFileSync(join(c.dir, 'other.img'), rawDisk(4 * 2 ** 20));
    await c.ok('image', 'import', join(c.dir, 'other.img'), '--host', 'h1');
    await c.ok('vm', 'clone', 'other', 'more', '--host', 'h2', '--memory', '96MiB');
    // the clone is there before all of its image is
    await eventually('both have it', async () => {
      const all = await c.json<{ name: string; copies: { host: string }[] }[]>('image', 'list');
      return all.find((x) => x.name === 'other')?.copies.length === 2;
    });
    await c.ok('vm', 'delete', 'more', '--force');
  });
});
