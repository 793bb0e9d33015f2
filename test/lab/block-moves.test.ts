/**
 * Volumes on their way to and from Ceph with real libvirt and QEMU: straight from a pool of files and back, and under a guest that
 * writes, with agent and libvirt killed meanwhile.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startCeph, type CephServer } from '@berth/deploy/lab/ceph.ts';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { guestShell } from '../harness/guest-shell.ts';
import { describeLab } from '../harness/lab.ts';
import { CHECK, hasEnded, WRITER } from '../harness/mirrors.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

interface Volume {
  readonly id: string;
  readonly pool: string;
  readonly format: string;
}

const MIB = 2 ** 20;
const dir = mkdtempSync(join(tmpdir(), 'berth-block-moves-'));

describeLab('moves to and from Ceph', { hosts: ['h1'] }, (lab) => {
  let c: Cluster;
  let ceph: CephServer;
  const h1 = () => lab().host('h1');
  const volume = (name: string) => c.json<Volume>('volume', 'show', name);
  const sum = async (...argv: string[]) => (await h1().run(argv)).split(' ')[0];

  beforeAll(async () => {
    const [cluster, server] = await Promise.all([
      machineAddress(lab()).then((a) => Cluster.start(a)),
      startCeph(lab()),
    ]);
    [c, ceph] = [cluster, server];
    writeFileSync(join(dir, 'key'), `${ceph.key}\n`, { mode: 0o600 });
    await c.addLabHost(h1());
    await c.waitUp('h1');
    await c.ok(
      ...['pool', 'create', 'ceph', '--type', 'rbd', '--source-host', ceph.address, '--source-name', ceph.pool],
      ...['--auth-user', ceph.user, '--auth-secret-file', join(dir, 'key'), '--all-hosts', '--shared'],
    );
    await c.ok('pool', 'create', 'a', '--path', '/kvm/a', '--all-hosts');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
  }, 240_000);
  afterAll(async () => {
    await c?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('go straight from a pool of files, with what is in their image, and back as they are', async () => {
    await c.ok('volume', 'create', 'data', '--image', 'base', '--host', 'h1', '--pool', 'a');
    const { id } = await volume('data');
    await h1().run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 7 8M 1M', `/kvm/a/${id}.qcow2`]);
    const raw = `qemu-img convert -f qcow2 -O raw /kvm/a/${id}.qcow2 /tmp/raw && sha256sum </tmp/raw; rm -f /tmp/raw`;
    const before = await sum('sh', '-c', raw);
    expect(await c.ok('volume', 'move', 'data', '--pool', 'ceph')).toMatch(/is in pool ceph on h1/);
    expect(await h1().run(['ls', '/kvm/a'])).not.toContain(id);
    const there = await ceph.run(['sh', '-c', `rbd export --no-progress ${ceph.pool}/${id} - | sha256sum`]);
    expect(there.split(' ')[0]).toBe(before);
    // whoever has read it has left: what a killed reader had open, Ceph lets nobody delete for half a minute
    await c.ok('volume', 'download', 'data', join(dir, 'data.qcow2'));
    expect(await ceph.run(['rbd', 'status', `${ceph.pool}/${id}`])).toContain('Watchers: none');
    expect(await c.ok('volume', 'move', 'data', '--pool', 'a')).toMatch(/is in pool a on h1/);
    expect(await sum('sha256sum', `/kvm/a/${id}.raw`)).toBe(before);
    expect(await volume('data')).toMatchObject({ pool: 'a', format: 'raw' });
    // raw by now, it goes as it is
    await c.ok('volume', 'move', 'data', '--pool', 'ceph');
    expect(
      (await ceph.run(['sh', '-c', `rbd export --no-progress ${ceph.pool}/${id} - | sha256sum`])).split(' ')[0],
    ).toBe(before);
    await c.ok('volume', 'delete', 'data');
    expect(await ceph.list()).toEqual([expect.stringMatching(/\.mark$/)]);
  }, 420_000);

  it('go under a guest that writes, through the deaths of agent and libvirt, and come back: no write is lost', async () => {
    await c.ok(
      'vm',
      'create',
      'web',
      '--disk',
      'image=base',
      '--disk',
      '256MiB,pool=a',
      '--host',
      'h1',
      '--memory',
      '128MiB',
    );
    const { id } = await volume('web-vdb');
    await h1().run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 0x55 64M 160M', `/kvm/a/${id}.qcow2`]);
    await c.ok('vm', 'start', 'web');
    await c.serial('web', /^berth-facts: /m);
    const guest = guestShell(c, 'web');
    await guest.run(WRITER);

    // over a slow link to Ceph, so that there is time to break it
    const mirrored = () =>
      eventually('libvirt mirrors it', async () =>
        (await h1().virsh(['dumpxml', 'web'])).includes("<mirror type='network'"),
      );
    await h1().limitSending(4 * MIB);
    const job = (await c.ok('volume', 'move', 'web-vdb', '--pool', 'ceph', '--no-wait')).trim();
    await mirrored();
    await c.ok('job', 'cancel', job);
    await c.quiet(60_000);
    expect((await volume('web-vdb')).pool).toBe('a');
    expect(await ceph.list()).not.toContain(id);

    const moving = (await c.ok('volume', 'move', 'web-vdb', '--pool', 'ceph', '--no-wait')).trim();
    await mirrored();
    await h1().stopAgent('SIGKILL');
    await h1().killLibvirt();
    await h1().startAgent();
    await c.waitUp('h1');
    await h1().limitSending(2 ** 30);
    await eventually('the move has ended', () => hasEnded(c, moving), 240_000);
    expect(await c.json('job', 'show', moving)).toMatchObject({ state: 'succeeded' });
    expect((await volume('web-vdb')).pool).toBe('ceph');
    for (const which of [[], ['--inactive']])
      expect(await h1().virsh(['domblklist', ...which, 'web'])).toContain(`${ceph.pool}/${id}`);
    expect(await h1().run(['ls', '/kvm/a'])).not.toContain(id);

    // libvirt forgot which pools it had started; the agent starts them again
    await eventually('the pool on Ceph is active', async () => {
      const { onHosts } = await c.json<{ onHosts: { state: string }[] }>('pool', 'show', 'ceph');
      return onHosts.every((h) => h.state === 'active');
    });
    // what it boots from, and its data back into a file, while it runs
    expect(await c.ok('volume', 'move', 'web-vda', '--pool', 'ceph')).toMatch(/is in pool ceph on h1/);
    expect(await c.ok('volume', 'move', 'web-vdb', '--pool', 'a')).toMatch(/is in pool a on h1/);
    expect(await ceph.list()).not.toContain(id);
    expect(await h1().virsh(['domblklist', 'web'])).toContain(`/kvm/a/${id}.raw`);
    await guest.run('touch /tmp/stop; while [ ! -e /tmp/done ]; do sleep 0.1; done');
    expect(await guest.ask(CHECK)).toMatch(/^same \d{2,}/);
    await c.ok('vm', 'stop', 'web', '--force');
    await c.ok('vm', 'start', 'web');
    await c.serial('web', /^berth-facts: .* boots 2 /m);
    expect(await guestShell(c, 'web').ask('dd if=/dev/vdb bs=16 skip=1 count=1 2>/dev/null')).toBe('1               ');
    expect(await h1().virsh(['dumpxml', 'web'])).not.toContain(ceph.key);
    await c.ok('vm', 'delete', 'web', '--force');
    expect(await ceph.list()).toEqual([expect.stringMatching(/\.mark$/)]);
  }, 420_000);
});
