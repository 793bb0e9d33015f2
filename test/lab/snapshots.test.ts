/** Snapshots with real libvirt and QEMU: what a guest had in memory and on disk is there again, and nobody is left standing. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

interface Vm {
  readonly name: string;
  readonly state: string;
}
interface Snapshot {
  readonly name: string;
  readonly state: string;
  readonly memory: boolean;
  readonly parent: string;
  readonly current: boolean;
  readonly consistency: string;
}

describeLab('snapshots', { hosts: ['h1'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()), { config: 'guestExec: allowed\n' });
    await c.addLabHost(lab().host('h1'));
    await c.waitUp('h1');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base');
    await c.ok('vm', 'clone', 'base', 'web', '--memory', '128MiB', '--start');
    await c.serial('web', /^berth-facts: .* boots 1 /m);
  }, 180_000);
  afterAll(() => c?.stop());

  const state = async (name: string) => (await c.json<Vm[]>('vm', 'list')).find((v) => v.name === name)?.state;
  const list = () => c.json<Snapshot[]>('vm', 'snapshot', 'list', 'web');
  const virsh = (...args: string[]) => lab().host('h1').virsh(args);
  /** Through the agent in the guest, which needs a moment after the guest has gone back. */
  async function inside(name: string, line: string): Promise<string> {
    let said = '';
    const ask = async () => {
      const r = await c.berth('vm', 'exec', name, '--', '/bin/sh', '-c', line);
      said = r.out.trim();
      return r.code === 0;
    };
    await eventually(`the agent in ${name} answers`, ask, 60_000);
    return said;
  }
  const write = (word: string) => inside('web', `echo ${word} >/root/word; echo ${word} >/run/word; sync; echo ok`);
  const words = (name: string) => inside(name, 'cat /root/word; cat /run/word 2>/dev/null || echo none');
  const boot = () => inside('web', 'cat /proc/sys/kernel/random/boot_id');

  it('brings back disk and memory of then; of disks alone, the guest is off', async () => {
    await write('one');
    const id = await boot();
    expect(await c.ok('vm', 'snapshot', 'create', 'web', 'first', '--description', 'as it began')).toMatch(
      /^vm web snapshot first made, with its memory +\[ {2}OK {2}\]$/,
    );
    expect(await state('web')).toBe('running');
    await write('two');
    expect(await c.ok('vm', 'snapshot', 'create', 'web', 'second', '--disk-only')).toMatch(
      /^vm web snapshot second made, of its disks, with file systems frozen /,
    );
    await write('three');
    expect(await c.berth('vm', 'snapshot', 'revert', 'web', 'first')).toMatchObject({ code: 4 });
    expect(await c.ok('vm', 'snapshot', 'revert', 'web', 'first', '--force')).toMatch(
      /^vm web is as it was in first, running /,
    );
    expect([await words('web'), await boot()]).toEqual(['one\none', id]);
    expect(await c.ok('vm', 'snapshot', 'revert', 'web', 'second', '--force')).toMatch(/, stopped /);
    expect(await state('web')).toBe('stopped');
    await c.ok('vm', 'snapshot', 'revert', 'web', 'first');
    expect([await words('web'), await boot()]).toEqual(['one\none', id]);
    expect(await list()).toMatchObject([
      { name: 'first', state: 'ready', memory: true, parent: '', current: true, consistency: 'memory' },
      { name: 'second', state: 'ready', memory: false, parent: 'first', current: false, consistency: 'frozen' },
    ]);
  }, 180_000);

  it('makes images and clones of them while the guest runs: they have what was then', async () => {
    const said = await c.ok('image', 'capture', 'web', '--name', 'old:1', '--snapshot', 'first');
    expect(said).toMatch(/^vm web captured as image old:1 sha256:\S+ \(as it was in its snapshot\)/);
    await c.ok('vm', 'clone', 'web', 'then', '--snapshot', 'second', '--start');
    await c.serial('then', /^berth-facts: .* boots 2 /m);
    expect(await words('then')).toBe('two\nnone');
    await c.ok('vm', 'delete', 'then', '--force');
  }, 120_000);

  it('leaves no guest standing and no half of a snapshot when libvirt and the agent are killed while it is made', async () => {
    const h1 = lab().host('h1');
    const making = c.berth('vm', 'snapshot', 'create', 'web', 'third');
    await eventually('it is being made', async () => (await list()).some((s) => s.name === 'third'));
    await Promise.all([h1.killLibvirt(), h1.stopAgent('SIGKILL')]);
    await h1.startAgent();
    expect(await making).toMatchObject({ code: 0 });
    expect((await list()).map((s) => s.name)).toEqual(['first', 'second', 'third']);
    // libvirt that comes back may take QEMU's answer about the snapshot for one to a question of its own, and ends the guest then
    const known = async () => {
      const [there, seen] = [await virsh('domstate', 'web'), (await state('web')) ?? ''];
      if (there === 'running' && seen === 'running') return 'running';
      return there === 'shut off' && ['stopped', 'crashed'].includes(seen) && 'off';
    };
    if ((await eventually('what became of it is known', known, 60_000)) === 'off') await c.ok('vm', 'start', 'web');
    expect(await eventually('it is known', known, 60_000)).toBe('running');
    // libvirt waits for a QEMU that still writes, and calls that wait for that give up after half a minute each
  }, 300_000);

  it('ends a revert that is cancelled with the truth: done, or nothing of it', async () => {
    await write('now');
    const job = (await c.ok('vm', 'snapshot', 'revert', 'web', 'first', '--force', '--no-wait')).match(/job-\w+/)![0];
    await c.berth('job', 'cancel', job);
    const ended = async () => (await c.json<{ state: string }>('job', 'show', job)).state;
    await eventually('the job has ended', async () => ['succeeded', 'cancelled'].includes(await ended()), 60_000);
    expect(await words('web')).toBe((await ended()) === 'succeeded' ? 'one\none' : 'now\nnow');
  }, 180_000);

  it.each([
    ['that runs', true],
    ['that is off', false],
  ] as const)(
    'clears what the disks of a vm %s hold of a snapshot that libvirt has lost',
    async (_, runs) => {
      const inDisk = async () =>
        lab()
          .host('h1')
          .run(['sh', '-c', 'for f in /var/lib/berth/volumes/*.qcow2; do qemu-img snapshot -U -l "$f"; done']);
      await c.ok('vm', 'snapshot', 'create', 'web', 'lost');
      expect(await inDisk()).toContain(' lost ');
      if (!runs) await c.ok('vm', 'stop', 'web', '--force');
      await virsh('snapshot-delete', 'web', 'lost', '--metadata');
      expect((await list()).find((s) => s.name === 'lost')).toMatchObject({ state: 'missing' });
      await c.ok('vm', 'snapshot', 'delete', 'web', 'lost');
      expect(await inDisk()).not.toContain(' lost ');
      expect((await list()).map((s) => s.name)).not.toContain('lost');
      if (!runs) await c.ok('vm', 'start', 'web');
    },
    180_000,
  );

  it('keeps disks as they are while they are in one, deletes them, and is gone with its VM', async () => {
    const refused = await c.berth('volume', 'resize', 'web-vda', '1GiB');
    expect(refused).toMatchObject({ code: 4 });
    expect(refused.err).toContain('disk vda of vm web is in snapshots first, second, third, so it stays as it is');
    await c.ok('vm', 'snapshot', 'delete', 'web', 'second', 'third');
    expect((await list()).map((s) => s.name)).toEqual(['first']);
    await c.ok('vm', 'delete', 'web', '--force');
    const kept = 'find /var/lib/libvirt/qemu/snapshot /var/lib/berth/volumes -type f 2>/dev/null';
    expect(
      (
        await lab()
          .host('h1')
          .run(['sh', '-c', `${kept} | wc -l`])
      ).trim(),
    ).toBe('0');
  }, 120_000);
});
