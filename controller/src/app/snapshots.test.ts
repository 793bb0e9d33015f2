/** Snapshots as people use them, on simulated hosts: what is made, what a revert brings back and what not, and what is refused. */
import type { JobId } from '@berth/shared/model/ids.ts';
import { beforeEach, describe, expect, it } from 'vitest';
import { AppCluster } from '../../../test/harness/app-cluster.ts';

let c: AppCluster;
const create = (name: string, over: { diskOnly?: boolean; description?: string } = {}) =>
  c.timed(c.life.snapshots.create({ vm: 'web', name, description: '', diskOnly: false, ...over }, 'test'));
const made = async (name: string, over: Parameters<typeof create>[1] = {}) => c.ended((await create(name, over)).jobId);
const list = () => c.timed(c.life.snapshots.list('web'));
const revert = async (name: string, force = false) =>
  c.ended(await c.timed(c.life.snapshots.revert('web', name, force, 'test')));
const remove = async (name: string) => c.ended(await c.timed(c.life.snapshots.delete('web', name, 'test')));
const said = async (answer: Promise<unknown>): Promise<string> => {
  const e = (await c.timed(answer).catch((x: unknown) => x)) as { reason?: string; message?: string };
  return `${e.reason}: ${e.message}`;
};
const start = () => c.done(c.life.vms.start('web', 'test'));
const web = () => c.life.vms.get('web');

beforeEach(async () => {
  c = await AppCluster.make();
  await c.import('base');
  expect(await c.done(c.clone('web', { memoryBytes: 2 ** 30, vcpus: 2 }))).toBe('succeeded');
});

describe('a snapshot', () => {
  it('of a running vm has its memory, and a revert lets it go on; of its disks alone, it is off then', async () => {
    await start();
    expect(await made('with-memory', { description: 'before 12.4' })).toBe('succeeded');
    expect(await made('disks', { diskOnly: true })).toBe('succeeded');
    expect(await list()).toMatchObject([
      {
        name: 'with-memory',
        state: 'ready',
        memory: true,
        power: 'running',
        description: 'before 12.4',
        current: false,
      },
      {
        name: 'disks',
        memory: false,
        power: 'stopped',
        consistency: 'crash-consistent',
        parent: 'with-memory',
        current: true,
      },
    ]);
    expect(await revert('disks', true)).toBe('succeeded');
    expect(await web()).toMatchObject({ state: 'stopped', vm: { desiredPower: 'off' } });
    expect(await revert('with-memory')).toBe('succeeded');
    expect(await web()).toMatchObject({ state: 'running', vm: { desiredPower: 'on' } });
    expect(c.life.state.tables.claims.get((await web()).vm.id)?.powered).toBe(true);
  });

  it('of a vm that is off has its disks; without a name it is called by the time', async () => {
    const { view, jobId } = await create('');
    expect(view).toMatchObject({ state: 'creating', memory: false });
    expect(view.name).toMatch(/^\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d$/);
    expect(await c.ended(jobId)).toBe('succeeded');
    expect(await list()).toMatchObject([{ name: view.name, consistency: 'stopped', disks: ['vda'] }]);
  });

  it('does not take the definition back: what a guest with memory goes on with is pending', async () => {
    await start();
    await made('small');
    const update = c.life.updates.update.bind(c.life.updates);
    const wanted = {
      memoryBytes: 2 ** 31,
      vcpus: 2,
      disks: [{ target: 'vda', image: 'base' }],
      nics: (await web()).vm.spec.nics.map(({ mac, bridge }) => ({ mac, bridge })),
    };
    await c.done(c.life.vms.stop('web', { force: true, timeoutMs: 0, thenForce: false }, 'test'));
    const changed = await c.timed(
      update(
        'web',
        { definition: wanted, labels: {}, generation: 0, dryRun: false, forceEject: false },
        'test',
        () => undefined,
      ),
    );
    expect(await c.ended(changed.jobId)).toBe('succeeded');
    expect((await list())[0]?.differences).toEqual(['memory was 1GiB, is 2GiB']);
    expect(await revert('small')).toBe('succeeded');
    const now = await web();
    expect(now).toMatchObject({
      state: 'running',
      vm: { spec: { memoryBytes: 2 ** 31 }, live: { memoryBytes: 2 ** 30 } },
    });
    expect(now.pending.map((p) => p.field)).toEqual(['memory']);
  });

  it('is deleted alone, and is gone with its vm', async () => {
    await made('a');
    await made('b');
    expect(await remove('a')).toBe('succeeded');
    expect(await list()).toMatchObject([{ name: 'b', parent: '' }]);
    expect(await c.done(c.life.vms.delete('web', { force: false }, 'test'))).toBe('succeeded');
    expect(c.sim.hosts.all().flatMap((h) => [...h.snapshotsHere.keys()])).toEqual([]);
  });

  it('that fails leaves nothing', async () => {
    const host = c.sim.hosts.host(c.hostId((await web()).hostName));
    host.diskFull = true;
    expect(await made('x')).toBe('failed');
    expect((await web()).vm.snapshots).toBeUndefined();
    expect([...host.snapshotsHere.keys()]).toEqual([]);
  });

  it('is shown as made by hand, missing, or as last seen, as its host has it', async () => {
    await made('ours');
    const { vm, hostName } = await web();
    const host = c.sim.hosts.host(c.hostId(hostName));
    const [key, found] = [...host.snapshotsHere][0]!;
    host.snapshotsHere.delete(key);
    host.snapshotsHere.set(`${vm.uuid}/theirs`, { ...found, seen: { ...found.seen, name: 'theirs', memory: true } });
    expect((await list()).map((s) => [s.name, s.state, s.byHand])).toEqual([
      ['theirs', 'ready', true],
      ['ours', 'missing', false],
    ]);
    expect(await said(c.life.snapshots.revert('web', 'ours', false, 'test'))).toContain('somebody deleted it there');
    expect(await said(c.life.snapshots.revert('web', 'theirs', false, 'test'))).toContain('UNSUPPORTED');
    expect(await made('theirs')).toBe('failed');
    expect(await remove('ours')).toBe('succeeded');
    expect((await list()).map((s) => s.name)).toEqual(['theirs']);
  });
});

describe('refused is', () => {
  it('a name that is taken or odd, a snapshot that is not there, and a revert of what runs without force', async () => {
    await made('a');
    expect(await said(create('a'))).toBe(
      'ALREADY_EXISTS: vm web has a snapshot a already. Delete it, or choose another name',
    );
    for (const name of ['../x', 'a b', '-x', 'x'.repeat(64)])
      expect(await said(create(name)), name).toContain('INVALID_ARGUMENT');
    expect(await said(create('b', { description: 'two\nlines' }))).toContain('INVALID_ARGUMENT');
    expect(await said(c.life.snapshots.get('web', 'nope'))).toContain('NOT_FOUND: vm web has no snapshot nope');
    await start();
    expect(await said(c.life.snapshots.revert('web', 'a', false, 'test'))).toContain(
      'What it has done since would be lost: shut it down first (berth vm stop web), or use --force.',
    );
    expect((await web()).vm.snapshots).toHaveLength(1);
  });

  it('what would lose a snapshot with its disk', async () => {
    await made('a');
    const words = 'IN_USE: disk vda of vm web is in snapshot a, so it stays as it is. Delete them first';
    const { volumes } = c.life;
    const { sizeBytes } = (await web()).vm.spec.disks[0]!;
    for (const asked of [
      () => volumes.resize('web-vda', { sizeBytes: sizeBytes * 2, shrink: false }, 'test'),
      () => volumes.convert('web-vda', 'raw', 'test'),
      () => volumes.sparsify('web-vda', 'test'),
      () => volumes.wipe('web-vda', 'test'),
      () => volumes.detach('web-vda', { name: '', force: false }, 'test'),
    ])
      expect(await said(asked())).toContain(words);
    expect(await remove('a')).toBe('succeeded');
    expect(
      (await c.timed(volumes.resize('web-vda', { sizeBytes: sizeBytes * 2, shrink: false }, 'test'))).jobId,
    ).toBeDefined();
  });

  it('a snapshot of a saved vm, and of one with a raw disk', async () => {
    await start();
    await c.done(c.life.vms.save('web', 'test'));
    expect(await said(create('a'))).toContain('vm web is saved');
    const { vm } = await web();
    await c.done(c.life.vms.start('web', 'test'));
    const disks = vm.spec.disks.map((d) => ({ ...d, options: { format: 'raw' as const } }));
    await c.life.state.update((tx) => tx.vms.put({ ...vm, desiredPower: 'on', spec: { ...vm.spec, disks } }));
    expect(await said(create('a'))).toContain('convert it first (berth volume convert web/vda --format qcow2)');
  });

  it('the memory of a guest, where its pool has no room for that', async () => {
    await start();
    const { claims } = c.life.state.tables;
    const claim = claims.get((await web()).vm.id)!;
    await c.timed(c.life.state.update((tx) => tx.claims.put({ ...claim, diskBytes: 2 ** 50 })));
    expect(await said(create('a'))).toMatch(
      /^NO_CAPACITY: snapshot a of vm web cannot lie on h\d: disk .*of 1 GiB wanted/,
    );
    expect((await web()).vm.snapshots).toBeUndefined();
    expect(await made('a', { diskOnly: true })).toBe('succeeded');
  });

  it('anything of two at once', async () => {
    const ask = (name: string) =>
      c.life.snapshots.create({ vm: 'web', name, description: '', diskOnly: false }, 'test');
    const [first, second] = await c.timed(Promise.allSettled([ask('a'), ask('b')]));
    expect(second).toMatchObject({ reason: { reason: 'RESOURCE_BUSY' } });
    expect(await c.ended((first as PromiseFulfilledResult<{ jobId: JobId }>).value.jobId)).toBe('succeeded');
    expect((await list()).map((s) => s.name)).toEqual(['a']);
  });
});

describe('an image', () => {
  it('is made of a snapshot, and says so', async () => {
    await made('a');
    const wanted = { vm: 'web', name: 'old:1', disks: [], hidden: false, snapshot: 'a' };
    const { jobId } = await c.timed(c.life.captures.capture(wanted, 'test'));
    expect(await c.ended(jobId)).toBe('succeeded');
    expect((await c.life.images.get('old:1')).image.origin).toBe('vm web, snapshot a');
    const steps = (await c.life.jobs.view(jobId)).steps;
    expect(steps.find((s) => s.name === 'copy')?.detail).toBe('as it was in its snapshot');
  });
});
