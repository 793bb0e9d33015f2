/** Hosts that are full, foreign or gone: one clear line, and nothing is left behind. */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { noisyDisk, rawDisk } from '../harness/disk-files.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { makeCa } from '../harness/pki.ts';
import { eventually } from '../harness/processes.ts';

/** Holds the guest image and one large one, and not much more. */
const DISK_BYTES = 420 * 2 ** 20;
const LARGE_BYTES = 96 * 2 ** 20;

describeLab('faults of real hosts', { hosts: ['h1', 'h2'], disk: { limitBytes: DISK_BYTES } }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await Promise.all(lab().hosts.map((h) => c.addLabHost(h)));
    await c.waitUp('h1', 'h2');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
  }, 180_000);
  afterAll(() => c?.stop());
  /** What a job needed goes once the controller has written down that it has ended. */
  const nothingLeft = (host: string) =>
    eventually(`${host} keeps nothing`, async () => {
      const left = await staging(host);
      if (left !== '') throw new Error(left);
      return true;
    });
  const staging = async (host: string) =>
    (
      await lab()
        .host(host)
        .run(['sh', '-c', 'cd /var/lib/berth && find staging cache uploads -type f 2>/dev/null || true'])
    ).trim();

  it('refuses an image that can not fit, before the first byte', async () => {
    await nothingLeft('h1');
    const disk = rawDisk(DISK_BYTES + 2 ** 20);
    disk.fill(7, 4096); // no holes
    writeFileSync(join(c.dir, 'large.img'), disk);
    const r = await c.berth('image', 'import', join(c.dir, 'large.img'));
    expect(r.code).toBe(1);
    expect(r.err).toMatch(/free|room/);
    expect(await staging('h1')).toBe('');
    await c.quiet();
  });

  it('takes a sparse disk that is larger than itself, and keeps it sparse', async () => {
    const file = join(c.dir, 'sparse.img');
    writeFileSync(file, noisyDisk(2 ** 20));
    truncateSync(file, 2 ** 30);
    expect(await c.ok('image', 'import', file, '--host', 'h1')).toContain('1 GiB virtual');
    const size = (what: string) => lab().host('h1').run(['du', '-s', what, '--block-size=1', '/var/lib/berth/images']);
    expect(Number.parseInt(await size('--apparent-size'), 10)).toBeLessThan(DISK_BYTES / 2);
    await c.ok('image', 'delete', 'sparse');
    await nothingLeft('h1');
    await c.quiet();
  });

  it('a disk that fills up during a transfer: one line, and nothing is left', async () => {
    const h2 = lab().host('h2');
    await lab()
      .host('h1')
      .limitSending(16 * 2 ** 20);
    writeFileSync(join(c.dir, 'mid.img'), noisyDisk(LARGE_BYTES));
    // Room enough when the transfer is decided on; gone while it runs.
    await c.ok('image', 'import', join(c.dir, 'mid.img'), '--host', 'h1');
    const clone = c.berth('vm', 'clone', 'mid', 'x', '--linked', '--host', 'h2', '--memory', '96MiB');
    await c.midTransfer();
    await h2.run(['sh', '-c', 'dd if=/dev/zero of=/var/lib/berth/ballast bs=1M count=2000 2>/dev/null || true']);
    const r = await clone;
    await h2.run(['rm', '-f', '/var/lib/berth/ballast']);
    expect(r.code, r.err).not.toBe(0);
    expect(r.err).toMatch(/full|room|space|free/);
    await c.quiet();
    await nothingLeft('h2');
    expect(await c.ok('vm', 'list', '-o', 'name')).toBe('');
  });

  it('an agent with a foreign certificate is a certificate fault, never a dead host', async () => {
    const h2 = lab().host('h2');
    const identityFile = '/var/lib/berth/identity/credentials.json';
    const identity = await h2.readFile(identityFile);
    const mine = JSON.parse(identity) as { hostId: string };
    const foreign = await (await makeCa()).host(mine.hostId);
    await h2.stopAgent();
    const control = { certPem: foreign.certPem, keyPem: foreign.keyPem };
    await h2.writeFile(identityFile, JSON.stringify({ ...mine, control }));
    await h2.startAgent();
    await eventually('h2 is a certificate fault', async () => (await c.hostState('h2')) === 'certificate-fault');
    expect((await c.berth('host', 'list')).out).toMatch(/certificate-fault .*certificate/);
    await h2.stopAgent();
    await h2.writeFile(identityFile, identity);
    await h2.startAgent();
    await c.waitUp('h2');
  });

  it('a VM on a host that is gone is unknown; deleted with --force it is removed when the host returns', async () => {
    await c.ok('vm', 'clone', 'base', 'lost', '--host', 'h2', '--memory', '256MiB', '--start');
    const h2 = lab().host('h2');
    await h2.disconnect();
    await eventually('h2 is unreachable', async () => (await c.hostState('h2')) === 'unreachable');
    expect((await c.berth('vm', 'list')).out).toMatch(/lost +unknown .*h2 unreachable/);
    expect((await c.berth('vm', 'start', 'lost')).code).not.toBe(0);
    const refused = await c.berth('vm', 'delete', 'lost');
    expect(refused).toMatchObject({ code: 4 });
    expect((await c.berth('vm', 'delete', 'lost', '--force')).code).toBe(0);
    expect(await h2.virsh(['list', '--name'])).toBe('lost');
    await h2.connect();
    await c.waitUp('h2');
    expect(await h2.virsh(['list', '--all', '--name'])).toBe('');
    expect(await h2.run(['sh', '-c', 'ls /var/lib/berth/volumes'])).toBe('');
  });
});
