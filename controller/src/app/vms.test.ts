import { beforeEach, describe, expect, it } from 'vitest';
import { AppCluster } from '../../../test/harness/app-cluster.ts';

let c: AppCluster;
const refusal = async (answer: Promise<unknown>): Promise<{ reason: string; message: string }> => {
  const e = (await c.timed(answer).catch((x: unknown) => x)) as { reason: string; message: string };
  return { reason: e.reason, message: e.message?.replace(/job-\w+/g, 'JOB') };
};

beforeEach(async () => {
  c = await AppCluster.make();
  expect(await c.import('base')).toBe('succeeded');
});

describe('cloning', () => {
  it('puts two VMs on different hosts, and copies the image once per host', async () => {
    const made = await c.timed(Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map((n) => c.clone(n))));
    for (const m of made) expect(await c.ended(m.jobId)).toBe('succeeded');
    const page = await c.life.vms.list({ pageSize: 0, pageToken: '', host: '' });
    expect(new Set(page.items.map((v) => v.hostName))).toEqual(new Set(['h1', 'h2', 'h3']));
    const fetches = [...c.life.state.tables.jobs.values()].filter((j) => j.kind === 'image.fetch');
    expect(fetches.map((j) => j.state)).toEqual(['succeeded', 'succeeded']);
    expect((await c.life.images.get('base')).copies.map((x) => x.host)).toEqual(['h1', 'h2', 'h3']);
  });

  it('refuses a second VM of the same name at once, saying where the first is', async () => {
    expect(await c.done(c.clone('web', { host: 'h2' }))).toBe('succeeded');
    expect(await refusal(c.clone('web'))).toEqual({
      reason: 'ALREADY_EXISTS',
      message: 'vm web exists already on h2',
    });
  });

  it('names the first reason of every host when none has room', async () => {
    expect(await refusal(c.clone('big', { memoryBytes: 64 * 2 ** 30 }))).toMatchInlineSnapshot(`
      {
        "message": "no host has room for vm big: h1 memory 15 GiB in all, 64 GiB wanted (360 MiB of it for QEMU); h2 memory 15 GiB in all, 64 GiB wanted (360 MiB of it for QEMU); h3 memory 15 GiB in all, 64 GiB wanted (360 MiB of it for QEMU)",
        "reason": "NO_CAPACITY",
      }
    `);
    expect(await refusal(c.clone('big', { memoryBytes: 64 * 2 ** 30, host: 'h2' }))).toMatchInlineSnapshot(`
      {
        "message": "vm big cannot run on h2: memory 15 GiB in all, 64 GiB wanted (360 MiB of it for QEMU)",
        "reason": "NO_CAPACITY",
      }
    `);
  });

  it('tells where a VM would go in a dry run, and makes nothing', async () => {
    const { view, jobId } = await c.clone('web', { dryRun: true });
    expect([view.hostName, jobId]).toEqual(['h1', undefined]);
    expect(c.life.state.tables.vms.size).toBe(0);
  });

  it('shows what each step made, and meanwhile how far the copy is that it waits for', async () => {
    const answer = c.clone('web', { host: 'h3', address: '10.0.0.9/24', diskSizeBytes: 2 ** 30 });
    const { jobs, state } = c.life;
    const fetch = () => state.tables.jobs.open().find((j) => j.kind === 'image.fetch');
    for (let n = 0; n < 1_000 && !fetch(); n++) await c.sim.clock.advance(1);
    const made = await answer;
    let seen = 0;
    const watch = async () => {
      for await (const _ of jobs.watch(made.jobId!)) seen++;
    };
    void watch();
    await c.sim.clock.advance(1);
    const before = seen;
    jobs.progress(`${fetch()!.id}.fetch`, 5, 10);
    const step = (await jobs.view(made.jobId!)).steps.find((s) => s.name === 'image');
    expect(step).toMatchObject({ state: 'running', progressDoneBytes: 5, progressTotalBytes: 10 });
    await c.sim.clock.advance(1);
    expect(seen).toBeGreaterThan(before);
    expect(await c.ended(made.jobId)).toBe('succeeded');
    const told = (await jobs.view(made.jobId!)).steps.map((s) => s.detail.replace(/52(:\w\w){5}/, 'MAC'));
    expect(told.slice(3)).toEqual([
      'vda 1 GiB, overlay on base',
      'not needed',
      'name, 10.0.0.9/24',
      '1 vCPU, 512 MiB, MAC on br0',
      '',
    ]);
  });

  it('for VMs that are to start keeps the room to run from the placement on, and starts them', async () => {
    const two = 6 * 2 ** 30; // of the 15 GiB of each host
    const tries = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((n) => c.clone(n, { memoryBytes: two, start: true }));
    const ends: string[] = [];
    for (const made of await c.timed(Promise.all(tries))) ends.push(await c.ended(made.jobId));
    expect(ends.sort()).toEqual(['failed', ...Array<string>(6).fill('succeeded')]);
    await c.sim.clock.advance(60_000);
    const { items } = await c.life.vms.list({ pageSize: 0, pageToken: '', host: '' });
    expect(items.map((v) => v.state)).toEqual(['running', 'running', 'running', 'running', 'running', 'running']);
  });

  it('starts them also when the controller dies in between; room for a start that fails is free again', async () => {
    const made = await c.timed(c.clone('web', { start: true, host: 'h1' }));
    expect(await c.ended(made.jobId)).toBe('succeeded');
    await c.restart();
    await c.sim.clock.advance(60_000);
    expect((await c.life.vms.get('web')).state).toBe('running');
    const { state } = c.life;
    expect(state.tables.claims.sums(c.hostId('h2')).powered.guests).toBe(0);
    const late = await c.timed(c.clone('late', { start: true, host: 'h2' }));
    // drained while it is made: its start is refused
    const host = state.tables.hosts.get(c.hostId('h2'))!;
    await c.timed(state.update((tx) => tx.hosts.put({ ...host, maintenance: true })));
    expect(await c.ended(late.jobId)).toBe('succeeded');
    await c.sim.clock.advance(60_000);
    expect((await c.life.vms.get('late')).state).toBe('stopped');
    expect(state.tables.claims.sums(c.hostId('h2')).powered.guests).toBe(0);
  });

  it('that is cancelled leaves nothing, and the copy nobody waits for any more is given up', async () => {
    const made = await c.timed(c.clone('web', { host: 'h3' }));
    await c.timed(c.life.jobs.cancel(made.jobId!));
    expect(await c.ended(made.jobId)).toBe('cancelled');
    await c.sim.clock.advance(60_000);
    expect(c.life.state.tables.jobs.open()).toEqual([]);
    expect(c.life.state.tables.vms.size + c.life.state.tables.claims.size).toBe(0);
    expect(c.sim.hosts.host(c.hostId('h3')).volumes.size).toBe(0);
  });

  it('takes a disk larger than the image, refuses a smaller one', async () => {
    const { view } = await c.timed(c.clone('large', { diskSizeBytes: 20 * 2 ** 30 }));
    expect(view.vm.spec.disks[0]?.sizeBytes).toBe(20 * 2 ** 30);
    expect((await refusal(c.clone('small', { diskSizeBytes: 2 ** 20 }))).message).toContain('needs 1 GiB or more');
  });

  it('refuses an image that is not there, with a hint', async () => {
    expect(await refusal(c.clone('web', { image: 'bas' }))).toEqual({
      reason: 'NOT_FOUND',
      message: 'image bas does not exist. Did you mean base?',
    });
  });
});

describe('a VM', () => {
  const get = async () => (await c.life.vms.get('web')).state;
  beforeEach(async () => {
    expect(await c.done(c.clone('web', { host: 'h2' }))).toBe('succeeded');
  });

  it('starts, once; stops, once; and its claim follows', async () => {
    const { vms, state } = c.life;
    const powered = () => [...state.tables.claims.values()].map((x) => x.powered);
    expect(await get()).toBe('stopped');
    expect(await c.done(vms.start('web', 'test'))).toBe('succeeded');
    expect([await get(), ...powered()]).toEqual(['running', true]);
    expect(await c.done(vms.start('web', 'test'))).toBe('no job');
    expect(await c.done(vms.stop('web', { force: false, timeoutMs: 0, thenForce: false }, 'test'))).toBe('succeeded');
    expect([await get(), ...powered()]).toEqual(['stopped', false]);
    expect(await c.done(vms.stop('web', { force: true, timeoutMs: 0, thenForce: false }, 'test'))).toBe('no job');
  });

  it('that ignores the power button is told of, or loses its power when that was asked for', async () => {
    const { vms } = c.life;
    await c.done(vms.start('web', 'test'));
    c.sim.hosts.host(c.hostId('h2')).deaf = true;
    const stop = await c.timed(vms.stop('web', { force: false, timeoutMs: 9000, thenForce: false }, 'test'));
    expect(await c.ended(stop.jobId)).toBe('failed');
    expect((await c.life.jobs.view(stop.jobId!)).error?.message).toMatchInlineSnapshot(
      `"vm web did not shut down within 9 s: its guest may ignore the power button. Look at its console, or pull the plug: berth vm stop web --force"`,
    );
    expect(await get()).toBe('running');
    expect(await c.done(vms.stop('web', { force: false, timeoutMs: 9000, thenForce: true }, 'test'))).toBe('succeeded');
    expect(await get()).toBe('stopped');
  });

  it('is not deleted while it runs, unless by force', async () => {
    const { vms } = c.life;
    await c.done(vms.start('web', 'test'));
    expect(await refusal(vms.delete('web', { force: false }, 'test'))).toEqual({
      reason: 'BAD_STATE',
      message: 'vm web is running on h2. Shut it down first (berth vm stop web), or delete it with --force.',
    });
    expect(await c.done(vms.delete('web', { force: true }, 'test'))).toBe('succeeded');
    expect(c.life.state.tables.vms.size + c.life.state.tables.claims.size).toBe(0);
    const host = c.sim.hosts.host(c.hostId('h2'));
    expect(host.domains.size + host.volumes.size).toBe(0);
  });

  it('on a host that is away is unknown, is forgotten by force, and removed when the host is back', async () => {
    const { vms, state } = c.life;
    const host = c.sim.hosts.host(c.hostId('h2'));
    c.sim.hosts.cut(c.hostId('h2'));
    await c.sim.clock.advance(12_000);
    const view = await vms.get('web');
    expect([view.state, view.reason]).toEqual(['unknown', 'h2 unreachable for 12 s']);
    expect((await refusal(vms.delete('web', { force: false }, 'test'))).message).toContain('forgotten now');
    expect(await c.done(vms.delete('web', { force: true }, 'test'))).toBe('succeeded');
    expect([state.tables.vms.size, host.domains.size, state.tables.debts.size]).toEqual([0, 1, 3]);
    host.up = true;
    void c.sim.reconnect(c.hostId('h2'));
    await c.sim.clock.advance(10_000);
    expect([host.domains.size, host.volumes.size, state.tables.debts.size]).toEqual([0, 0, 0]);
  });

  it('that is being made is busy: the answer names its job', async () => {
    const made = await c.clone('db', { host: 'h3' });
    expect(await refusal(c.life.vms.delete('db', { force: true }, 'test'))).toMatchInlineSnapshot(`
      {
        "message": "vm db is being made: job JOB works on it. Wait for it (berth job watch JOB), or cancel it: berth job cancel JOB",
        "reason": "RESOURCE_BUSY",
      }
    `);
    expect(await c.ended(made.jobId)).toBe('succeeded');
  });

  it('is found by name or id, and listed by pages and by host', async () => {
    for (const n of ['a', 'b', 'c']) expect(await c.done(c.clone(n, { host: 'h1' }))).toBe('succeeded');
    const { vms } = c.life;
    const web = await vms.get('web');
    expect((await vms.get(web.vm.id)).vm.name).toBe('web');
    const first = await vms.list({ pageSize: 2, pageToken: '', host: '' });
    const second = await vms.list({ pageSize: 2, pageToken: first.nextPageToken, host: '' });
    expect([first, second].map((p) => p.items.map((v) => v.vm.name))).toEqual([
      ['a', 'b'],
      ['c', 'web'],
    ]);
    expect(second.nextPageToken).toBe('');
    const there = await vms.list({ pageSize: 0, pageToken: '', host: 'h2' });
    expect(there.items.map((v) => v.vm.name)).toEqual(['web']);
    expect((await refusal(vms.list({ pageSize: 0, pageToken: 'nonsense', host: '' }))).reason).toBe('INVALID_ARGUMENT');
  });
});
