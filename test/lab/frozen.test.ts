/**
 * What is frozen, not dead: a guest's QEMU, libvirtd, the agent, the network between two hosts. Everything else goes on, an
 * alarm says what it is and what to do, and it is cleared when it is over.
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

interface Vm {
  readonly name: string;
  readonly state: string;
  readonly stateReason: string;
}
interface Alarm {
  readonly kind: string;
  readonly subject: string;
  readonly message: string;
}

const SOON_MS = 120_000;

describeLab('what is frozen', { hosts: ['h1', 'h2'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await Promise.all(lab().hosts.map((h) => c.addLabHost(h)));
    await c.waitUp('h1', 'h2');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
    await c.ok('vm', 'clone', 'base', 'web', 'db', '--host', 'h1', '--memory', '256MiB', '--start');
    await c.serial('web', /^berth-guest: web /m);
  }, 180_000);
  afterAll(() => c?.stop());

  const vm = async (name: string) => (await c.json<Vm[]>('vm', 'list')).find((v) => v.name === name);
  const alarms = () => c.json<Alarm[]>('alarm', 'list');
  const raised = (kind: string, subject: string) =>
    eventually(
      `alarm ${kind} of ${subject}`,
      async () => (await alarms()).find((a) => a.kind === kind && a.subject === subject),
      SOON_MS,
    );
  const cleared = (kind: string) =>
    eventually(`no alarm ${kind}`, async () => (await alarms()).every((a) => a.kind !== kind), SOON_MS);

  it('a QEMU: its VM runs with a reason, the others are measured, and it can be forced off', async () => {
    const [h1] = lab().hosts;
    expect(await h1?.kill('guest=web,', 'SIGSTOP')).toBeGreaterThan(0);
    expect((await raised('vm-qemu-silent', 'web')).message).toBe('vm web runs, but its QEMU does not answer');
    expect(await vm('web')).toMatchObject({ state: 'running', stateReason: expect.stringContaining('QEMU') });
    expect(await vm('db')).toMatchObject({ state: 'running', stateReason: '' });
    expect(await c.ok('vm', 'show', 'web')).toMatch(/^alarms:/m);
    await c.ok('vm', 'stop', 'web', '--force');
    expect((await vm('web'))?.state).toBe('stopped');
    await cleared('vm-qemu-silent');
  });

  it('a QEMU that thaws by itself is well again', async () => {
    const [h1] = lab().hosts;
    await h1?.kill('guest=db,', 'SIGSTOP');
    await raised('vm-qemu-silent', 'db');
    await h1?.kill('guest=db,', 'SIGCONT');
    await cleared('vm-qemu-silent');
    expect(await vm('db')).toMatchObject({ state: 'running', stateReason: '' });
  });

  it('libvirtd: the VMs of its host are unknown, none is placed there, and all is as before afterwards', async () => {
    const [h1] = lab().hosts;
    const pid = await h1?.libvirtPid();
    await h1?.run(['kill', '-STOP', String(pid)]);
    try {
      await raised('host-libvirt-away', 'h1');
      expect((await vm('db'))?.state).toBe('unknown');
      const refused = await c.berth('vm', 'clone', 'base', 'x', '--host', 'h1');
      expect(refused.code).not.toBe(0);
      expect(refused.err).toContain('libvirt');
      expect(await c.ok('vm', 'clone', 'base', 'elsewhere', '--memory', '96MiB')).toContain('created on h2');
    } finally {
      await h1?.run(['kill', '-CONT', String(pid)]);
    }
    await cleared('host-libvirt-away');
    await eventually('db is seen again', async () => (await vm('db'))?.state === 'running', SOON_MS);
    await c.ok('vm', 'start', 'web');
    await c.quiet();
  });

  it('an agent: its host is unreachable, its VMs are unknown and never stopped', async () => {
    const [h1] = lab().hosts;
    const pid = await h1?.agentPid();
    await h1?.run(['kill', '-STOP', String(pid)]);
    try {
      await raised('host-unreachable', 'h1');
      expect((await vm('db'))?.state).toBe('unknown');
      expect((await c.berth('vm', 'stop', 'db', '--force')).code).toBe(5);
    } finally {
      await h1?.run(['kill', '-CONT', String(pid)]);
    }
    await c.waitUp('h1');
    await eventually('db is seen again', async () => (await vm('db'))?.state === 'running', SOON_MS);
    await cleared('host-unreachable');
  });

  it('the network between two hosts: a copy waits with a reason, and goes on when it is mended', async () => {
    const h2 = lab().host('h2');
    await lab()
      .host('h1')
      .limitSending(8 * 2 ** 20);
    writeFileSync(join(c.dir, 'large.img'), noisyDisk(64 * 2 ** 20));
    await c.ok('image', 'import', join(c.dir, 'large.img'), '--host', 'h1');
    const cut = (how: 'add' | 'del') => h2.run(['ip', 'route', how, 'blackhole', lab().host('h1').address]);
    const clone = c.berth('vm', 'clone', 'large', 'far', '--linked', '--host', 'h2', '--memory', '96MiB');
    await c.midTransfer();
    await cut('add');
    try {
      await eventually(
        'the copy says what it waits for',
        async () =>
          (await c.json<{ kind: string; waitReason: string }[]>('job', 'list', '--open')).find(
            (j) => j.kind === 'image.fetch' && j.waitReason !== '',
          ),
        SOON_MS,
      );
    } finally {
      await cut('del');
    }
    const r = await clone;
    expect(r.code, r.err).toBe(0);
    await c.quiet();
    expect((await vm('far'))?.state).toBe('stopped');
  });
});
