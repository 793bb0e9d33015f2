/** Volumes that move between pools with real libvirt and QEMU: under a guest that writes, and with agent and libvirt killed meanwhile. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { guestShell } from '../harness/guest-shell.ts';
import { describeLab } from '../harness/lab.ts';
import { CHECK, fastMirror, hasEnded, slowMirror, WRITER } from '../harness/mirrors.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

interface Volume {
  readonly id: string;
  readonly pool: string;
  readonly host: string;
}

describeLab('moves of volumes', { hosts: ['h1', 'h2'] }, (lab) => {
  let c: Cluster;
  const h1 = () => lab().host('h1');
  const volume = (name: string) => c.json<Volume>('volume', 'show', name);
  const files = async (path: string): Promise<string> => h1().run(['ls', path]);

  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    for (const name of ['h1', 'h2']) await c.addLabHost(lab().host(name));
    await c.waitUp('h1', 'h2');
    for (const name of ['a', 'b']) await c.ok('pool', 'create', name, '--path', `/kvm/${name}`, '--all-hosts');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
  }, 180_000);
  afterAll(() => c?.stop());

  it('that need their image no more afterwards go without it, out of a pool', async () => {
    await c.ok('volume', 'create', 'flat', '--image', 'base', '--host', 'h1', '--pool', 'a');
    const { id } = await volume('flat');
    await h1().run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 7 8M 1M', `/kvm/a/${id}.qcow2`]);
    const sum = (path: string) => [
      'sh',
      '-c',
      `qemu-img convert -f qcow2 -O raw ${path} /tmp/raw && sha256sum </tmp/raw; rm /tmp/raw`,
    ];
    const before = await h1().run(sum(`/kvm/a/${id}.qcow2`));
    expect(await c.ok('volume', 'move', 'flat', '--host', 'h2', '--full')).toMatch(/is in pool local on h2/);
    expect(await c.json('volume', 'show', 'flat')).toMatchObject({ backing: [] });
    const path = `/var/lib/berth/volumes/${id}.qcow2`;
    expect(await lab().host('h2').run(['qemu-img', 'info', path])).not.toContain('backing');
    expect(await lab().host('h2').run(['ls', '/var/lib/berth/images'])).not.toContain('.qcow2');
    expect(await lab().host('h2').run(sum(path))).toBe(before);
    await eventually('nothing is left', async () => (await files('/var/lib/berth/uploads')) === '', 60_000);
    await c.ok('volume', 'delete', 'flat');
  });

  it('that stand alone go to another host with their image, and can be downloaded there', async () => {
    await c.ok('volume', 'create', 'data', '--image', 'base', '--host', 'h1', '--pool', 'a');
    const { id } = await volume('data');
    await h1().run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 7 8M 1M', `/kvm/a/${id}.qcow2`]);
    const raw = (path: string) => [
      'sh',
      '-c',
      `qemu-img convert -f qcow2 -O raw ${path} /tmp/raw && sha256sum </tmp/raw`,
    ];
    const before = await h1().run(raw(`/kvm/a/${id}.qcow2`));
    const fromPool = join(c.dir, 'from-pool.raw');
    await c.ok('volume', 'download', 'data', fromPool);
    expect(createHash('sha256').update(readFileSync(fromPool)).digest('hex')).toBe(before.split(' ')[0]);
    expect(await c.ok('volume', 'move', 'data', '--host', 'h2')).toMatch(/is in pool local on h2/);
    expect(await files('/kvm/a')).not.toContain(id);
    expect(
      await lab()
        .host('h2')
        .run(raw(`/var/lib/berth/volumes/${id}.qcow2`)),
    ).toBe(before);
    const file = join(c.dir, 'data.raw');
    await c.ok('volume', 'download', 'data', file);
    expect(createHash('sha256').update(readFileSync(file)).digest('hex')).toBe(before.split(' ')[0]);
    expect((await c.berth('volume', 'download', 'data', file)).err).toMatch(/exists already/);
  });

  it('go on at the byte where they were, when the agent at either end is killed', async () => {
    await c.ok('volume', 'create', 'big', '--size', '2GiB', '--host', 'h1');
    const { id } = await volume('big');
    const path = `/var/lib/berth/volumes/${id}.qcow2`;
    const fill = 'head -c 1100M /dev/urandom >/tmp/noise && qemu-io -f qcow2 -c "write -s /tmp/noise 0 1100M" ';
    await h1().run(['sh', '-c', `${fill}${path} && rm /tmp/noise`]);
    // of gigabytes, against mistakes and not against cheats
    const sum = ['sh', '-c', `qemu-img convert -f qcow2 -O raw ${path} /tmp/raw && cksum </tmp/raw; rm /tmp/raw`];
    const before = await h1().run(sum);
    const job = (await c.ok('volume', 'move', 'big', '--host', 'h2', '--no-wait')).trim();
    const progress = async () => {
      const { steps } = await c.json<{ steps: { progressDoneBytes: number }[] }>('job', 'show', job);
      return Math.max(...steps.map((s) => s.progressDoneBytes));
    };
    for (const [at, name] of [
      [150, 'h2'],
      [400, 'h1'],
      [650, 'h2'],
    ] as const) {
      await eventually(`${at} MiB have come`, async () => (await progress()) > at * 2 ** 20, 120_000);
      await lab().host(name).stopAgent('SIGKILL');
      await lab().host(name).startAgent();
      // at most what a power cut would have cost
      await eventually(
        'it goes on',
        async () => {
          const now = await progress();
          if (now < (at - 65) * 2 ** 20) throw new Error(`it fell back to ${now} bytes`);
          return now > (at + 70) * 2 ** 20;
        },
        120_000,
      );
    }
    await eventually('it has moved', async () => (await volume('big')).host === 'h2', 120_000);
    await c.quiet(60_000);
    expect(await lab().host('h2').run(sum)).toBe(before);
    const left = () => lab().host('h2').run(['ls', '/var/lib/berth/uploads']);
    await eventually('nothing is left', async () => (await left()) === '', 60_000);
    await c.ok('volume', 'delete', 'big');
  }, 400_000);

  it('go on under a guest that writes, through the deaths of agent, libvirt and controller: no write is lost', async () => {
    const disks = ['--disk', 'image=base,pool=a', '--disk', '768MiB,pool=a'];
    await c.ok('vm', 'create', 'web', ...disks, '--host', 'h1', '--memory', '128MiB');
    // so much that a copy takes its time
    const { id } = await volume('web-vdb');
    await h1().run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 0x55 64M 640M', `/kvm/a/${id}.qcow2`]);
    await c.ok('vm', 'start', 'web');
    await c.serial('web', /^berth-facts: /m);
    const guest = guestShell(c, 'web');
    await guest.run(WRITER);
    const slowed = slowMirror(h1());
    const moving = (await c.ok('volume', 'move', 'web-vdb', '--pool', 'b', '--no-wait')).trim();
    await slowed;
    await h1().stopAgent('SIGKILL');
    await h1().killLibvirt();
    await c.controller.restart('SIGKILL');
    await eventually('the controller answers', async () => (await c.berth('host', 'list')).code === 0);
    await h1().startAgent();
    await c.waitUp('h1');
    await fastMirror(h1(), () => hasEnded(c, moving));
    await eventually('the move has ended', () => hasEnded(c, moving), 120_000);
    expect(await c.json('job', 'show', moving)).toMatchObject({ state: 'succeeded' });
    expect((await volume('web-vdb')).pool).toBe('b');
    expect(await h1().virsh(['domblklist', 'web'])).toContain(`/kvm/b/${id}.qcow2`);
    expect(await h1().virsh(['domblklist', '--inactive', 'web'])).toContain(`/kvm/b/${id}.qcow2`);
    expect(await files('/kvm/a')).not.toContain(id);
    expect(await c.ok('volume', 'move', 'web-vdb', '--pool', 'local')).toMatch(/is in pool local on h1/);
    expect(await files('/kvm/b')).not.toContain(id);
    await guest.run('touch /tmp/stop; while [ ! -e /tmp/done ]; do sleep 0.1; done');
    expect(await guest.ask(CHECK)).toMatch(/^same \d{2,}/);
  }, 300_000);

  it('of what a guest boots from, over an image; and of one that is off', async () => {
    const { id } = await volume('web-vda');
    expect(await c.ok('volume', 'move', 'web-vda', '--pool', 'b')).toMatch(/is in pool b on h1/);
    const info = await h1().run(['qemu-img', 'info', '-U', '--output=json', `/kvm/b/${id}.qcow2`]);
    expect(info).toMatch(/"full-backing-filename": "\/var\/lib\/berth\/images\//);
    await c.ok('vm', 'stop', 'web', '--force');
    expect(await c.ok('volume', 'move', 'web-vda', 'web-vdb', '--pool', 'a')).toMatch(/web-vdb +is in pool a/);
    expect(await files('/kvm/b')).not.toContain(id);
    expect(await h1().virsh(['domblklist', 'web'])).toContain(`/kvm/a/${id}.qcow2`);
    await c.ok('image', 'capture', 'web', '--name', 'as-it-was');
    await c.ok('vm', 'clone', 'as-it-was', 'copy', '--host', 'h1', '--start');
    await c.serial('copy', /^berth-facts: .* boots 2 /m);
    await c.ok('vm', 'delete', 'copy', '--force');
    await c.ok('vm', 'start', 'web');
    await c.serial('web', /^berth-facts: .* boots 2 /m);
    expect(await guestShell(c, 'web').ask('dd if=/dev/vdb bs=16 skip=1 count=1 2>/dev/null')).toBe('1               ');
  });

  it('stay where they are when they are cancelled', async () => {
    const { id } = await volume('web-vdb');
    const slowed = slowMirror(h1());
    const job = (await c.ok('volume', 'move', 'web-vdb', '--pool', 'b', '--no-wait')).trim();
    await slowed;
    await c.ok('job', 'cancel', job);
    await c.quiet(60_000);
    expect((await volume('web-vdb')).pool).toBe('a');
    expect(await files('/kvm/b')).not.toContain(id);
    expect(await h1().virsh(['domblklist', 'web'])).toContain(`/kvm/a/${id}.qcow2`);
  });

  it('take what is in the image along under a guest that runs, which rests on none then', async () => {
    const { id } = await volume('web-vda');
    const path = `/kvm/b/${id}.qcow2`;
    expect(await c.ok('volume', 'move', 'web-vda', '--pool', 'b', '--full')).toMatch(/is in pool b on h1, and rests/);
    expect(await c.json('volume', 'show', 'web-vda')).toMatchObject({ backing: [], pool: 'b' });
    expect(await h1().run(['qemu-img', 'info', '-U', path])).not.toMatch(/^backing file/m);
    for (const stored of [[], ['--inactive']])
      expect(await h1().virsh(['dumpxml', ...stored, 'web'])).not.toContain('/var/lib/berth/images/');
    expect(await files('/kvm/a')).not.toContain(id);
    await c.ok('vm', 'stop', 'web', '--force');
    expect(await h1().run(['qemu-img', 'check', path])).toMatch(/No errors/);
    await c.ok('vm', 'start', 'web');
    await c.serial('web', /^berth-facts: .* boots 3 /m);
  }, 120_000);
});
