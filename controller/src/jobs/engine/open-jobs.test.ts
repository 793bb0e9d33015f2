/** The engine as a whole, in virtual time over the state in memory. Each job's own promises are the harness's to prove. */
import { beforeEach, expect, test, vi } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { newId, type HostId, type JobId } from '@berth/shared/model/ids.ts';
import type { JobView } from '@berth/shared/model/job.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { MemoryDisk, MemoryEngine } from '../../state/memory-engine.ts';
import { aHost } from '../../state/samples.ts';
import { Store } from '../../state/store.ts';
import { defineJob, wait, type AnyJobDef, type EngineDeps, type JobDef } from './define.ts';
import type { Jobs, StartOptions } from './jobs.ts';
import { openJobs } from './open-jobs.ts';
import { joinJob, leaveJoined } from './start.ts';

const log = { debug: vi.fn(), warn: vi.fn(), error: vi.fn(), fatal: vi.fn() };
const HOST = aHost({ name: 'h1' });
const unreachable = () => new ClusterError('HOST_UNREACHABLE', 'h1 did not answer');
type Act = (c: { opId: string; attempt: number; signal: AbortSignal; progress(d: number, t: number): void }) => unknown;

/** What the hosts do, for each test to say. */
class Deps implements EngineDeps {
  run: Act = () => 'ok';
  undo: Act = () => undefined;
  tell?: () => unknown;
  dead = false;
  cancelOperation = vi.fn(async (_h: HostId, _op: string): Promise<unknown> => undefined);
  acknowledgeOperations = vi.fn(async () => undefined);
  isHostDead = (): boolean => this.dead;
}

const params = { vm: 'web' };
const simple = defineJob<typeof params, Deps>('vm.start', 1)
  .local('place', { run: () => ({ hostId: HOST.id }), undo: () => undefined, describe: () => HOST.name })
  .remote('boot', {
    host: (c) => c.outs.place.hostId,
    run: async (c) => c.deps.run(c) as never,
    undo: async (c) => c.deps.undo(c) as never,
    debts: (c) => [{ kind: 'domain', target: c.params.vm, vmId: undefined, why: 'left' }],
    deadlineMs: 60_000,
  })
  .pointOfNoReturn()
  .remote('tell', { run: async (c) => c.deps.tell?.() })
  .build();

let clock: SimClock;
let state: Store;
let deps: Deps;
let jobs: Jobs;
let disk: MemoryDisk;
const defs: AnyJobDef[] = [simple as AnyJobDef];

async function begin(extra: readonly AnyJobDef[] = [], engine = new MemoryEngine({ disk })): Promise<void> {
  state = await Store.open({ engine, clock, log, onFatal: () => {} });
  jobs = openJobs({
    state,
    deps,
    defs: [...defs, ...extra],
    clock,
    log,
    random: { next: () => 0.5 },
    giveUpMs: 100_000,
  });
}

beforeEach(async () => {
  clock = new SimClock();
  disk = new MemoryDisk();
  deps = new Deps();
  await begin();
  await state.update((tx) => tx.hosts.put(HOST));
  jobs.run();
});

const start = (o: Partial<StartOptions> = {}, def: JobDef<typeof params, never> = simple as never): Promise<JobId> =>
  state.update((tx) => jobs.start(tx, def, params, { subject: 'web', user: 'admin', ...o }));
const view = async (id: JobId): Promise<JobView> => (await clock.settle(), jobs.view(id));
const steps = (v: JobView): string => v.steps.map((s) => `${s.name}:${s.state}`).join(' ');
const eventTypes = async (): Promise<string[]> => (await state.events({ limit: 100 })).map((e) => e.type);

test('a job runs to its end, shows its steps, and its operations are acknowledged', async () => {
  const id = await start({ locks: ['vm/1:exclusive'] });
  const v = await view(id);
  expect(v.state).toBe('succeeded');
  expect(steps(v)).toBe('place:succeeded boot:succeeded tell:succeeded');
  expect(v.steps[0]!.detail).toBe('h1');
  expect(v.locks).toEqual([]);
  expect(deps.acknowledgeOperations).toHaveBeenCalledWith(HOST.id, [`${id}.`]);
  expect(await jobs.list({ limit: 5 })).toHaveLength(1);
  expect(await jobs.list({ limit: 5, openOnly: true })).toEqual([]);
});

test('a wait holds nothing, comes back by time or by a nudge, and is told', async () => {
  deps.run = ({ attempt }) => (attempt < 3 ? wait(10_000, 'guest is starting') : 'ok');
  const id = await start();
  expect(await view(id)).toMatchObject({ state: 'waiting', waitReason: 'guest is starting' });
  expect((await view(id)).steps[1]!.detail).toBe('guest is starting');
  const { revision } = state;
  await clock.advance(10_000);
  expect(state.revision).toBe(revision);
  jobs.nudgeByOperation(`${id}.boot`);
  expect((await view(id)).state).toBe('succeeded');
});

test('locks are exclusive or shared, and a refusal names the job that holds them', async () => {
  deps.run = () => wait(1000, 'busy');
  const id = await start({ locks: ['image/1:shared', 'vm/1:exclusive'] });
  await start({ locks: ['image/1:shared', 'vm/2:exclusive'] });
  const refused = { reason: 'RESOURCE_BUSY', meta: { jobId: id, kind: 'vm.start', subject: 'web' } };
  await expect(start({ locks: ['vm/1:shared'] })).rejects.toMatchObject(refused);
  await expect(start({ locks: ['image/1:exclusive'] })).rejects.toThrow(/job job-\w+ \(vm.start web\) holds it/);
});

test('an unreachable host is a wait with growing pauses until the deadline of the step; then the job unwinds', async () => {
  const tries: number[] = [];
  deps.run = () => {
    tries.push(clock.now());
    throw unreachable();
  };
  const id = await start();
  expect(await view(id)).toMatchObject({ state: 'waiting', waitReason: 'h1 did not answer' });
  await clock.advance(59_000);
  expect(tries.length).toBeLessThan(12);
  expect((await view(id)).state).toBe('waiting');
  await clock.advance(1_000);
  const v = await view(id);
  expect(v).toMatchObject({ state: 'failed', error: { reason: 'DEADLINE_EXCEEDED' } });
  expect(v.error!.message).toContain('h1 did not answer');
  expect(steps(v)).toBe('place:undone boot:undone tell:pending');
  expect(deps.cancelOperation).toHaveBeenCalledWith(HOST.id, `${id}.boot`);
});

test('a host that comes back nudges those that wait for it', async () => {
  let up = false;
  deps.run = () => {
    if (!up) throw unreachable();
  };
  const id = await start();
  await view(id);
  up = true;
  jobs.nudgeHost(HOST.id);
  expect((await view(id)).state).toBe('succeeded');
});

test('a cancel aborts the running call, unwinds, and ends as cancelled', async () => {
  deps.run = ({ signal }) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
  const id = await start();
  await clock.settle();
  await jobs.cancel(id);
  const v = await view(id);
  expect(v).toMatchObject({ state: 'cancelled', error: { reason: 'CANCELLED' } });
  expect(await eventTypes()).toEqual(['job.cancelled']);
  await expect(jobs.cancel(id)).rejects.toMatchObject({ reason: 'BAD_STATE' });
});

test('a job that waits for its turn at a silent host can be cancelled', async () => {
  deps.run = () => new Promise(() => {});
  for (let i = 0; i < 16; i++) await start();
  const id = await start();
  await clock.settle();
  deps.undo = () => undefined;
  await jobs.cancel(id);
  expect(await view(id)).toMatchObject({ state: 'unwinding' });
});

test('a waiting job can be cancelled at once', async () => {
  deps.run = () => wait(3_600_000, 'long');
  const id = await start();
  await clock.settle();
  await jobs.cancel(id);
  expect((await view(id)).state).toBe('cancelled');
});

test('a host that is declared dead fails the step and leaves debts; the job ends and its locks go', async () => {
  deps.run = () => {
    throw unreachable();
  };
  const id = await start({ locks: ['vm/1:exclusive'] });
  await clock.settle();
  deps.dead = true;
  jobs.nudgeHost(HOST.id);
  expect((await view(id)).state).toBe('failed');
  expect(state.tables.debts.byHost(HOST.id).map((d) => [d.kind, d.target])).toEqual([
    ['operation', `${id}.boot`],
    ['domain', 'web'],
  ]);
  expect(state.tables.jobs.holders('vm/1')).toEqual([]);
  expect(await eventTypes()).toEqual(['job.debt', 'job.failed']);
});

test('unwinding waits a bounded time for a silent host, then leaves debts', async () => {
  deps.run = () => {
    throw new Error('no');
  };
  deps.cancelOperation.mockRejectedValue(unreachable());
  const id = await start();
  await clock.advance(99_000);
  expect(await view(id)).toMatchObject({ state: 'unwinding', waitReason: 'h1 did not answer' });
  await clock.advance(2_000);
  expect((await view(id)).state).toBe('failed');
  expect(state.tables.debts.size).toBe(2);
});

test('an undo waits for storage that does not answer, for a while', async () => {
  deps.run = () => {
    throw new Error('no');
  };
  let silent = true;
  deps.undo = () => {
    if (silent) throw new ClusterError('STORAGE_UNAVAILABLE', 'pool a does not answer');
  };
  const [first, second] = [await start(), await start()];
  await clock.advance(99_000);
  expect(await view(first)).toMatchObject({ state: 'unwinding', waitReason: 'pool a does not answer' });
  await clock.advance(2_000);
  expect((await view(first)).state).toBe('stuck');
  silent = false;
  await jobs.retry(second);
  expect((await view(second)).state).toBe('failed');
  expect(state.tables.debts.size).toBe(0);
});

test('an undo that fails leaves the job stuck, with an alarm; retry tries again, accept ends it', async () => {
  deps.run = () => {
    throw new Error('no');
  };
  deps.undo = () => {
    throw new Error('device is busy');
  };
  const id = await start({ locks: ['vm/1:exclusive'] });
  const v = await view(id);
  expect(v.state).toBe('stuck');
  expect(steps(v)).toBe('place:succeeded boot:undo_failed tell:pending');
  expect(v.steps[1]!.detail).toBe('device is busy');
  expect(state.tables.jobs.holders('vm/1')).toHaveLength(1);
  expect((await state.events({ limit: 9 })).at(-1)).toMatchObject({ type: 'job.stuck', severity: 'alarm' });
  await expect(jobs.cancel(id)).rejects.toThrow('retry it, or accept it');
  await jobs.retry(id);
  expect((await view(id)).state).toBe('stuck');
  await jobs.accept(id);
  expect((await view(id)).state).toBe('failed');
  expect(state.tables.jobs.holders('vm/1')).toEqual([]);
  expect((await state.events({ limit: 9 })).map((e) => e.message).join()).toContain('not undone: place, boot');

  const second = await start();
  await view(second);
  deps.undo = () => undefined;
  await jobs.retry(second);
  expect((await view(second)).state).toBe('failed');
});

test('past the point of no return a job only goes forward, with an alarm when it cannot', async () => {
  let fails = 3;
  deps.tell = () => {
    if (fails-- > 0) throw new Error('not yet');
  };
  const id = await start();
  await clock.settle();
  await expect(jobs.cancel(id)).rejects.toThrow('point of no return');
  expect((await view(id)).state).toBe('waiting');
  await clock.advance(60_000);
  expect((await view(id)).state).toBe('succeeded');
  expect(await eventTypes()).toEqual(['job.blocked']);
});

test('a restart takes up every open job where it was, and an unknown kind is stuck, not a crash', async () => {
  deps.run = () => wait(1000, 'boots');
  const id = await start();
  const odd = await start({}, { ...simple, kind: 'vm.odd' } as never);
  await clock.settle();
  await jobs.stop();
  deps.run = () => 'ok';
  await begin();
  jobs.run();
  expect((await view(id)).state).toBe('succeeded');
  expect(await view(odd)).toMatchObject({
    state: 'stuck',
    waitReason: 'this version does not know jobs of kind vm.odd v1',
  });
  await jobs.accept(odd);
  expect((await view(odd)).state).toBe('failed');
});

test('stopping aborts calls without a trace in the log', async () => {
  deps.run = ({ signal }) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
  const id = await start();
  await clock.settle();
  await jobs.stop();
  expect(state.jobLog(id).map((e) => e.type)).toEqual(['started', 'succeeded', 'started']);
  expect(state.tables.jobs.get(id)?.state).toBe('running');
});

test('a silent host holds up its own jobs and nobody else', async () => {
  const other = aHost({ name: 'h2' });
  await state.update((tx) => tx.hosts.put(other));
  deps.run = () => new Promise(() => {});
  const quick = defineJob<typeof params, Deps>('quick', 1)
    .remote('ask', { host: () => other.id, run: async () => 1 })
    .build();
  await jobs.stop();
  await begin([quick as AnyJobDef]);
  jobs.run();
  for (let i = 0; i < 100; i++) await start();
  const id = await start({}, quick as never);
  expect((await view(id)).state).toBe('succeeded');
});

test('a keyed job is joined by many, fails them all, and is cancelled when the last one leaves', async () => {
  let fetching: 'runs' | 'done' | 'broken' = 'runs';
  const fetch = defineJob<{ image: string }, Deps>('image.fetch', 1)
    .remote('copy', {
      run: async () => {
        if (fetching === 'broken') throw new ClusterError('DISK_FULL', 'pool of h1 is full');
        return fetching === 'runs' ? wait(5_000, 'copies') : null;
      },
    })
    .build();
  const clone = defineJob<typeof params, Deps>('vm.clone', 1)
    .local('fetch', {
      run: (c) => joinJob(c, fetch, { image: 'base' }, { subject: 'base', user: 'u', key: 'image.fetch/base/h1' }),
      undo: leaveJoined,
    })
    .build();
  await jobs.stop();
  await begin([fetch as AnyJobDef, clone as AnyJobDef]);
  jobs.run();
  const fetchJobs = () => state.tables.jobs.open().filter((j) => j.kind === 'image.fetch');

  const [a, b] = [await start({}, clone as never), await start({}, clone as never)];
  await clock.settle();
  expect(fetchJobs().map((j) => j.waiters)).toEqual([[a, b]]);
  await jobs.cancel(a);
  expect((await view(a)).state).toBe('cancelled');
  expect(fetchJobs()[0]!.waiters).toEqual([b]);
  fetching = 'done';
  await clock.advance(5_000);
  expect((await view(b)).state).toBe('succeeded');

  fetching = 'runs';
  const c = await start({}, clone as never);
  await clock.settle();
  const running = fetchJobs()[0]!.id;
  await jobs.cancel(c);
  expect((await view(running)).state).toBe('cancelled');

  fetching = 'broken';
  const d = await start({}, clone as never);
  await clock.settle();
  expect(await view(d)).toMatchObject({ state: 'failed', error: { reason: 'DISK_FULL' } });
  expect((await view(d)).error!.message).toBe('image.fetch base failed: pool of h1 is full');
});

test('whoever watches sees the job now and after each change, with progress, until it ends', async () => {
  let finish = (): void => {};
  deps.run = ({ progress }) => {
    progress(5, 10);
    return new Promise<void>((resolve) => (finish = resolve));
  };
  const id = await start();
  await clock.settle();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const v of jobs.watch(id)) seen.push(`${v.state} ${v.steps[1]!.state} ${v.steps[1]!.progressDoneBytes}`);
  })();
  await clock.settle();
  jobs.progress(`${id}.boot`, 7, 10);
  await clock.settle();
  finish();
  await watching;
  expect(seen.slice(0, 2)).toEqual(['running running 5', 'running running 7']);
  expect(seen.at(-1)).toBe('succeeded succeeded 0');
});

test('a job that was never there is not found', async () => {
  await expect(jobs.view('job-none' as JobId)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  await expect(jobs.cancel('job-none' as JobId)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
});

/** A disk whose next commits take as long as the test wants. */
async function slowDisk(extra: readonly AnyJobDef[] = []): Promise<{ hold(): void; go(): void; commits(): number }> {
  await jobs.stop();
  await state.close();
  let open: (() => void) | undefined;
  let gate: Promise<void> = Promise.resolve();
  const engine = new MemoryEngine({ disk });
  const commit = engine.commit.bind(engine);
  engine.commit = async (batch, epoch) => (await gate, commit(batch, epoch));
  await begin(extra, engine);
  jobs.run();
  return {
    hold: () => void (gate = new Promise((resolve) => (open = resolve))),
    go: () => open?.(),
    commits: () => engine.commits,
  };
}

test('no agent is called before the commit that says so is on disk', async () => {
  const slow = await slowDisk();
  const boot = vi.fn(() => 'ok');
  deps.run = boot;
  const id = await start();
  slow.hold();
  await clock.settle();
  expect(state.jobLog(id).map((e) => `${e.step} ${e.type}`)).toEqual([
    'place started',
    'place succeeded',
    'boot started',
  ]);
  expect(boot).not.toHaveBeenCalled();
  slow.go();
  await clock.settle();
  expect(boot).toHaveBeenCalledOnce();
});

test('an agent may forget the operations of a job only when its end is on disk', async () => {
  const slow = await slowDisk();
  deps.tell = () => void slow.hold();
  const id = await start();
  await clock.settle();
  expect(state.tables.jobs.get(id)?.state).toBe('succeeded');
  await state.apply((tx) => tx.hosts.put({ ...HOST }));
  expect(deps.acknowledgeOperations).not.toHaveBeenCalled();
  slow.go();
  await clock.settle();
  expect(deps.acknowledgeOperations).toHaveBeenCalledOnce();
});

test('what is logged between two calls to agents shares one commit', async () => {
  const slow = await slowDisk();
  const before = slow.commits();
  const v = await view(await start());
  expect(v.state).toBe('succeeded');
  expect(slow.commits() - before).toBe(4); // the job, up to boot, up to tell, the end
});

test('a user has so many jobs under way and no more; others, the controller itself and later ones are not held up', async () => {
  await begin();
  const most = 2;
  const options = (user: string): StartOptions => ({ subject: 'web', user, mostPerUser: most });
  const user = (name: string) => ({
    ...{ id: newId('user', 1), name, kind: 'person' as const, grants: [], disabled: false },
    ...{ passwordHash: undefined, createdAtMs: 1, generation: 1 },
  });
  const start = (name: string) => state.update((tx) => jobs.start(tx, simple, params, options(name)));
  await state.update((tx) => (tx.users.put(user('flood')), tx.users.put(user('calm'))));
  const own = [await start('flood'), await start('flood')];
  await expect(start('flood')).rejects.toMatchObject({ reason: 'RATE_LIMITED', meta: { retryAfterMs: '1000' } });
  await start('calm');
  for (let i = 0; i < 3; i++) await start('berth');
  await state.update((tx) => tx.jobs.put({ ...tx.jobs.get(own[0]!)!, state: 'cancelled', endedAtMs: 1 }));
  await start('flood');
});
