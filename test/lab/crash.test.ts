/**
 * kill -9 on real hosts. After each crash every job ends as if nothing had happened or unwinds completely, guests keep
 * running, no volume is left without an owner, and no lock is held.
 */
import { cpSync, lstatSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { Cluster, freePort } from '../harness/cluster.ts';
import { noisyDisk } from '../harness/disk-files.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { Daemon, eventually, PROGRAMS } from '../harness/processes.ts';

/** A transfer takes six seconds: time enough to meet it in its middle, without much work for anybody. */
const BULK_BYTES = 64 * 2 ** 20;
const LINK_BYTES_PER_SECOND = 10 * 2 ** 20;

describeLab('crashes on real hosts', { hosts: ['h1', 'h2', 'h3'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await Promise.all(lab().hosts.map((h) => c.addLabHost(h)));
    await c.waitUp('h1', 'h2', 'h3');
    await Promise.all(lab().hosts.map((h) => h.limitSending(LINK_BYTES_PER_SECOND)));
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
    await bulk('bulk');
  }, 240_000);
  afterAll(() => c?.stop());

  async function bulk(name: string): Promise<void> {
    writeFileSync(join(c.dir, `${name}.img`), noisyDisk(BULK_BYTES));
    await c.ok('image', 'import', join(c.dir, `${name}.img`), '--host', 'h1');
  }
  const copies = async (image: string) =>
    (
      (await c.json<{ name: string; copies: { host: string }[] }[]>('image', 'list')).find((i) => i.name === image)
        ?.copies ?? []
    )
      .map((k) => k.host)
      .sort();
  const files = async (host: LabHost) =>
    (
      await host.run(['sh', '-c', 'cd /var/lib/berth && find volumes staging cache uploads -type f 2>/dev/null | sort'])
    ).trim();
  /** Nothing open, nothing stuck, and each host has exactly the volumes of the VMs that the inventory knows. */
  async function clean(): Promise<void> {
    await c.quiet(120_000);
    // what jobs needed goes once the controller has written down that they have ended
    await eventually('hosts have what the inventory knows, and no more', async () => (await asKnown(), true));
  }
  async function asKnown(): Promise<void> {
    const vms = await c.json<{ name: string; host: string; spec: { disks: { volumeId: string }[] } }[]>('vm', 'list');
    for (const host of lab().hosts) {
      const owned = vms.filter((v) => v.host === host.name);
      const there = await files(host);
      for (const v of owned) expect(there).toContain(v.spec.disks[0]?.volumeId);
      expect(there.split('\n').filter((f) => f.endsWith('.qcow2')).length, there).toBe(owned.length);
      expect((await host.virsh(['list', '--all', '--name'])).split('\n').filter(Boolean).sort()).toEqual(
        owned.map((v) => v.name).sort(),
      );
    }
  }

  it('the controller dies in the middle of clones: after its return each clone is whole', async () => {
    const names = ['a1', 'a2', 'a3', 'a4'];
    const r = await c.berth('vm', 'clone', 'base', ...names, '--memory', '96MiB', '--no-wait');
    expect(r.code, r.err).toBe(0);
    await c.controller.restart('SIGKILL');
    await eventually('the controller answers', async () => (await c.berth('host', 'list')).code === 0);
    await clean();
    expect((await c.ok('vm', 'list', '-o', 'name')).split('\n').sort()).toEqual(names);
    await c.ok('vm', 'delete', ...names);
    await clean();
  });

  it('the controller dies in the middle of a transfer, and the clone is made all the same', async () => {
    await c.ok('vm', 'clone', 'bulk', 'b1', '--linked', '--host', 'h2', '--memory', '96MiB', '--no-wait');
    await c.midTransfer();
    await c.controller.restart('SIGKILL');
    await eventually(
      'the clone is made',
      async () => (await c.berth('vm', 'show', 'b1', '-o', 'json')).out.includes('"stopped"'),
      120_000,
    );
    expect(await copies('bulk')).toEqual(['h1', 'h2']);
    await clean();
    await c.ok('vm', 'delete', 'b1');
  });

  it('the agent that receives an image dies in the middle: the transfer goes on', async () => {
    await c.ok('vm', 'clone', 'bulk', 'c1', '--linked', '--host', 'h3', '--memory', '96MiB', '--no-wait');
    await c.midTransfer();
    await lab().host('h3').stopAgent('SIGKILL');
    await eventually('h3 is seen as gone', async () => (await c.hostState('h3')) === 'unreachable');
    await lab().host('h3').startAgent();
    await eventually(
      'the clone is made',
      async () => (await c.berth('vm', 'show', 'c1', '-o', 'json')).out.includes('"stopped"'),
      120_000,
    );
    expect(await copies('bulk')).toEqual(['h1', 'h2', 'h3']);
    await clean();
    await c.ok('vm', 'delete', 'c1');
  });

  it('libvirtd dies under a running guest: the guest goes on, and is seen running again', async () => {
    await c.ok('vm', 'clone', 'base', 'd1', '--memory', '256MiB', '--host', 'h1');
    await c.ok('vm', 'start', 'd1');
    await c.serial('d1', /^berth-guest: d1 /m);
    const host = lab().host('h1');
    const [qemu] = await host.pids('qemu-system-x86_64.*guest=d1');
    await host.killLibvirt();
    await host.waitForLibvirt();
    await eventually('d1 runs', async () =>
      (await c.berth('vm', 'show', 'd1', '-o', 'json')).out.includes('"running"'),
    );
    expect(await host.pids('qemu-system-x86_64.*guest=d1')).toEqual([qemu]);
    expect((await c.berth('vm', 'stop', 'd1')).code).toBe(0);
  });

  it('QEMU dies: the VM is seen as crashed, an event says so, and it starts again', async () => {
    await c.ok('vm', 'start', 'd1');
    expect(await lab().host('h1').kill('qemu-system-x86_64.*guest=d1', 'SIGKILL')).toBe(1);
    await eventually('d1 is crashed', async () =>
      (await c.berth('vm', 'show', 'd1', '-o', 'json')).out.includes('"crashed"'),
    );
    await eventually('an event says so', async () => /vm\.crashed/.test(await c.ok('event', 'list')));
    await c.ok('vm', 'start', 'd1');
    // The guest has only begun to boot, and misses the first press of its power button.
    await c.ok('vm', 'stop', 'd1');
  });

  it('an agent dies and comes back under a running guest: the guest goes on', async () => {
    await c.ok('vm', 'start', 'd1');
    const host = lab().host('h1');
    const [qemu] = await host.pids('qemu-system-x86_64.*guest=d1');
    await host.stopAgent('SIGKILL');
    await eventually('d1 is unknown, not stopped', async () =>
      (await c.berth('vm', 'show', 'd1', '-o', 'json')).out.includes('"unknown"'),
    );
    await host.startAgent();
    await eventually(
      'd1 runs',
      async () => (await c.berth('vm', 'show', 'd1', '-o', 'json')).out.includes('"running"'),
      60_000,
    );
    expect(await host.pids('qemu-system-x86_64.*guest=d1')).toEqual([qemu]);
    await c.ok('vm', 'delete', 'd1', '--force');
    await clean();
  });

  it('the peer that serves an image dies: another takes over', async () => {
    await bulk('bulk2');
    await c.ok('vm', 'clone', 'bulk2', 'e1', '--linked', '--host', 'h2', '--memory', '96MiB');
    await c.ok('vm', 'clone', 'bulk2', 'e2', '--linked', '--host', 'h3', '--memory', '96MiB', '--no-wait');
    await c.midTransfer();
    // Whoever serves it: both in turn, so that one of the two kills hits the source.
    for (const name of ['h1', 'h2']) {
      const host = lab().host(name);
      await host.stopAgent('SIGKILL');
      await host.kill('qemu-nbd|qemu-storage-daemon', 'SIGKILL');
      await host.startAgent();
    }
    await eventually(
      'the clone is made',
      async () => (await c.berth('vm', 'show', 'e2', '-o', 'json')).out.includes('"stopped"'),
      180_000,
    );
    expect(await copies('bulk2')).toEqual(['h1', 'h2', 'h3']);
    await c.waitUp('h1', 'h2', 'h3');
    await clean();
    await c.ok('vm', 'delete', 'e1', 'e2');
  });

  it('a clone that is cancelled in its middle leaves nothing', async () => {
    await bulk('bulk3');
    const job = (
      await c.ok('vm', 'clone', 'bulk3', 'f1', '--linked', '--host', 'h2', '--memory', '96MiB', '--no-wait')
    ).trim();
    await c.midTransfer();
    await c.ok('job', 'cancel', job);
    await clean();
    expect(await copies('bulk3')).toEqual(['h1']);
    expect(await c.ok('vm', 'list', '-o', 'name')).toBe('');
  });

  it('a controller started on a copy of the database is refused by the hosts', async () => {
    cpSync(c.dataDir, join(c.dir, 'copy'), { recursive: true, filter: (file) => !lstatSync(file).isSocket() });
    const address = c.address.split(':')[0] ?? '';
    const copy = new Daemon(PROGRAMS.controller, [
      'run',
      '--data-dir',
      join(c.dir, 'copy'),
      '--listen',
      `${address}:${await freePort(address)}`,
    ]);
    copy.start();
    try {
      const refused = () => Promise.resolve(/another|older|WRONG_CONTROLLER|in charge/i.test(copy.output));
      await eventually('the copy is refused', refused, 120_000);
      await c.waitUp('h1', 'h2', 'h3');
      expect((await c.berth('vm', 'clone', 'base', 'g1', '--memory', '96MiB')).code).toBe(0);
      await c.ok('vm', 'delete', 'g1');
    } finally {
      await copy.end('SIGKILL');
    }
  });
});
