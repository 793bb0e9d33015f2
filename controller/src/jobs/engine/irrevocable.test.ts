/** A job that is to stop at a step that cannot be taken back hears first what became of it, and ends truly. */
import { beforeEach, expect, test, vi } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, JobId } from '@berth/shared/model/ids.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { MemoryDisk, MemoryEngine } from '../../state/memory-engine.ts';
import { aHost } from '../../state/samples.ts';
import { Store } from '../../state/store.ts';
import { defineJob, wait, type AnyJobDef, type EngineDeps } from './define.ts';
import type { Jobs } from './jobs.ts';
import { openJobs } from './open-jobs.ts';

const log = { debug: vi.fn(), warn: vi.fn(), error: vi.fn(), fatal: vi.fn() };
const HOST = aHost({ name: 'h1' });
const GIVE_UP_MS = 100_000;

/** A host with one operation that nobody can cut short. */
class Deps implements EngineDeps {
  became: 'running' | 'done' | 'cancelled' | 'broken' | 'silent' = 'running';
  /** What a cancel finds. */
  found: Deps['became'] = 'done';
  dead = false;
  cancelOperation = vi.fn(async (_h: HostId, _op: string): Promise<unknown> => {
    if (this.found === 'silent') throw new ClusterError('HOST_UNREACHABLE', 'h1 did not answer');
    return (this.became = this.found);
  });
  isHostDead = (): boolean => this.dead;
  ask(): unknown {
    if (this.became === 'running') return wait(1000, 'going back');
    if (this.became === 'silent') throw new ClusterError('HOST_UNREACHABLE', 'h1 did not answer');
    if (this.became === 'cancelled') throw new ClusterError('CANCELLED', 'the operation was cancelled on its host');
    if (this.became === 'broken') throw new ClusterError('INTERNAL', 'its disks may be of two moments');
    return 'done';
  }
}

const undone = vi.fn();
const def = defineJob<{ vm: string }, Deps>('vm.revert', 1)
  .local('begin', { run: () => ({ hostId: HOST.id }), undo: () => undone() as undefined })
  .remote('revert', {
    host: (c) => c.outs.begin.hostId,
    deadlineMs: 60_000,
    irrevocable: true,
    run: async (c) => c.deps.ask() as never,
  })
  .pointOfNoReturn()
  .local('record', { run: () => null })
  .build();

let clock: SimClock;
let state: Store;
let deps: Deps;
let jobs: Jobs;
let id: JobId;

beforeEach(async () => {
  undone.mockClear();
  clock = new SimClock();
  deps = new Deps();
  state = await Store.open({ engine: new MemoryEngine({ disk: new MemoryDisk() }), clock, log, onFatal: () => {} });
  const random = { next: () => 0.5 };
  jobs = openJobs({ state, deps, defs: [def as AnyJobDef], clock, log, random, giveUpMs: GIVE_UP_MS });
  await state.update((tx) => tx.hosts.put(HOST));
  jobs.run();
  id = await state.update((tx) => jobs.start(tx, def as never, { vm: 'web' }, { subject: 'web', user: 'admin' }));
  await clock.settle();
});
const ended = async () => (await clock.settle(), jobs.view(id));

test('cancelled when it was done already: the job goes on to its end', async () => {
  await jobs.cancel(id);
  expect(await ended()).toMatchObject({ state: 'succeeded' });
  expect(undone).not.toHaveBeenCalled();
  expect((await state.events({ limit: 10 })).map((e) => e.type)).not.toContain('job.cancelled');
});

test('cancelled before it had begun: cancelled, and undone', async () => {
  deps.found = 'cancelled';
  await jobs.cancel(id);
  expect(await ended()).toMatchObject({ state: 'cancelled', error: { message: 'vm.revert web was cancelled' } });
  expect(undone).toHaveBeenCalledTimes(1);
});

test('cancelled while it failed by itself: the job says what failed', async () => {
  deps.found = 'broken';
  await jobs.cancel(id);
  expect(await ended()).toMatchObject({ state: 'failed', error: { message: 'its disks may be of two moments' } });
});

test('past its deadline when it was done: the job goes on to its end', async () => {
  await clock.advance(61_000);
  expect(await ended()).toMatchObject({ state: 'succeeded' });
});

test('a host that is silent is waited for, and then said to be; one that answers again tells', async () => {
  deps.became = deps.found = 'silent';
  await jobs.cancel(id);
  expect(await ended()).toMatchObject({ state: 'waiting', waitReason: 'h1 did not answer' });
  deps.found = 'done';
  jobs.nudgeHost(HOST.id);
  expect(await ended()).toMatchObject({ state: 'succeeded' });
});

test.each(['silent', 'dead'] as const)('a host that is %s for good has not told, and the job says so', async (how) => {
  deps.became = deps.found = 'silent';
  deps.dead = how === 'dead';
  await jobs.cancel(id);
  await ended();
  await clock.advance(3 * GIVE_UP_MS);
  const message = 'vm.revert web was cancelled; whether revert was done, its host has not told';
  expect(await ended()).toMatchObject({ state: 'cancelled', error: { message } });
});
