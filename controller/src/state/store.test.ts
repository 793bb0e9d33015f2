/** The store over the engine in memory: transactions, group commit, crash, integrity. SQLite has its own tests. */
import { expect, test, vi } from 'vitest';
import { newId, type HostId, type ImageId, type JobId, type VmId } from '@berth/shared/model/ids.ts';
import { Crash, MemoryDisk, MemoryEngine, type MemoryEngineOptions } from './memory-engine.ts';
import type { Change } from './state.ts';
import { Store } from './store.ts';
import { aHost, aJob, aVm, anImage } from './samples.ts';

const log = { error: vi.fn(), fatal: vi.fn() };
const onFatal = vi.fn();
const open = async (o: MemoryEngineOptions = {}) => {
  const engine = new MemoryEngine(o);
  return { engine, state: await Store.open({ engine, clock: { now: () => 1000 }, log, onFatal }) };
};

test('an update is durable when it resolves, and a new store finds it', async () => {
  const disk = new MemoryDisk();
  const { state } = await open({ disk });
  const host = aHost({ name: 'h1' });
  expect(await state.update((tx) => (tx.hosts.put(host), 7))).toBe(7);
  expect(state.revision).toBe(1);
  expect(state.durableRevision).toBe(1);
  const { state: again } = await open({ disk });
  expect(again.tables.hosts.byName('h1')).toEqual(host);
  expect(again.revision).toBe(1);
});

test('updates of one moment, and those that come during a commit, share one commit each', async () => {
  const { state, engine } = await open();
  const put = (n: number) => state.update((tx) => tx.hosts.put(aHost({ name: `h${n}` })));
  await Promise.all(Array.from({ length: 100 }, (_, n) => put(n).then(() => put(n + 100))));
  expect(state.revision).toBe(200);
  expect(engine.commits).toBe(2);
});

test('what an update throws takes everything back: rows, indexes, job logs, events', async () => {
  const { state } = await open();
  const host = aHost({ name: 'h1' });
  const job = aJob({ locks: ['vm/1:exclusive'] });
  await state.update((tx) => (tx.hosts.put(host), tx.jobs.put(job)));
  const bad = state.update((tx) => {
    tx.hosts.put({ ...host, name: 'renamed' });
    tx.hosts.put(aHost({ name: 'h1', address: 'elsewhere:1' }));
    tx.appendJobEvent(job.id, { step: 'a', type: 'started' });
    tx.jobs.put({ ...job, state: 'failed' });
    throw new Error('no');
  });
  await expect(bad).rejects.toThrow('no');
  expect([state.revision, state.tables.hosts.size]).toEqual([1, 1]);
  expect(state.tables.hosts.byName('renamed')).toBeUndefined();
  expect(state.tables.hosts.byName('h1')).toBe(host);
  expect(state.tables.hosts.afterName('', 10)).toEqual([host]);
  expect(state.jobLog(job.id)).toEqual([]);
  expect(state.tables.jobs.holders('vm/1')).toEqual([job]);
});

test('names, addresses and mac addresses are unique', async () => {
  const { state } = await open();
  const h = aHost({ name: 'h1', address: 'a:1' });
  const vm = aVm({ name: 'web', mac: '52:54:00:00:00:01' });
  await state.update((tx) => (tx.hosts.put(h), tx.vms.put(vm)));
  await expect(state.update((tx) => tx.hosts.put(aHost({ name: 'h1' })))).rejects.toThrow('host h1 already exists');
  await expect(state.update((tx) => tx.hosts.put(aHost({ address: 'a:1' })))).rejects.toThrow(
    'a:1 is taken by host h1',
  );
  await expect(state.update((tx) => tx.vms.put(aVm({ mac: '52:54:00:00:00:01' })))).rejects.toThrow('taken by vm web');
  await state.update((tx) => tx.vms.put({ ...vm, desiredPower: 'on' }));
  expect(state.tables.vms.byMac('52:54:00:00:00:01')?.desiredPower).toBe('on');
});

test('what describes an object goes with it; what people made stands in its way', async () => {
  const { state } = await open();
  const host = aHost({});
  const image = anImage({});
  const vm = aVm({ name: 'web', hostId: host.id, imageId: image.id });
  await state.update((tx) => {
    tx.hosts.put(host);
    tx.images.put(image);
    tx.vms.put(vm);
    tx.imageCopies.put({ imageId: image.id, hostId: host.id, fileBytes: 1 });
    tx.claims.put({ vmId: vm.id, hostId: host.id, vcpus: 1, memoryBytes: 1, diskBytes: 1, powered: true });
  });
  await expect(state.update((tx) => tx.hosts.delete(host.id))).rejects.toThrow('vm web still belongs');
  await expect(state.update((tx) => tx.images.delete(image.id))).rejects.toThrow('vm web still needs');
  expect(state.tables.claims.byHost(host.id)).toHaveLength(1);
  await state.update((tx) => tx.vms.delete(vm.id));
  expect(state.tables.claims.size).toBe(0);
  await state.update((tx) => (tx.hosts.delete(host.id), tx.images.delete(image.id)));
  expect(state.tables.imageCopies.size).toBe(0);
  const lost = aVm({ hostId: newId('host', 0) as HostId, imageId: undefined as ImageId | undefined });
  await expect(state.update((tx) => tx.vms.put(lost))).rejects.toThrow('which does not exist');
});

test('subscribers hear of each update in order, after it is durable, with keys and events', async () => {
  const { state } = await open();
  const heard: Change[] = [];
  state.subscribe((c) => {
    expect(state.durableRevision).toBe(c.revision);
    heard.push(c);
  });
  const vm = aVm({ name: 'web' });
  const told = {
    type: 'vm.created',
    severity: 'info',
    subjectKind: 'vm',
    subject: 'web',
    message: 'm',
    jobId: undefined,
  } as const;
  await Promise.all([state.update((tx) => tx.vms.put(vm)), state.update((tx) => tx.event(told))]);
  expect(heard.map((c) => c.revision)).toEqual([1, 2]);
  expect(heard[0]!.touched.get('vms')).toEqual(new Set([vm.id]));
  expect(heard[1]!.events).toEqual([{ ...told, revision: 2, atMs: 1000, labels: vm.spec.labels }]);
  expect(await state.events({ limit: 10 })).toEqual(heard[1]!.events);
});

test('a failed commit stops everything; what reached the disk decides what the next life finds', async () => {
  for (const crashKeeps of [true, false]) {
    const disk = new MemoryDisk();
    const { state } = await open({ disk, crashAt: 1, crashKeeps });
    await state.update((tx) => tx.hosts.put(aHost({ name: 'h1' })));
    const second = state.update((tx) => tx.hosts.put(aHost({ name: 'h2' })));
    const waiting = state.settled();
    await expect(second).rejects.toThrow('crash at commit 1');
    await expect(waiting).rejects.toThrow('crash at commit 1');
    await expect(state.update(() => 1)).rejects.toThrow('could not be made durable');
    expect(onFatal).toHaveBeenLastCalledWith(expect.any(Crash));
    const { state: next } = await open({ disk });
    expect(next.tables.hosts.size).toBe(crashKeeps ? 2 : 1);
  }
});

test('the state refuses to be written outside an update, asynchronously, or from inside an update', async () => {
  const { state } = await open();
  let leaked: Parameters<Parameters<typeof state.update>[0]>[0] | undefined;
  await state.update((tx) => void (leaked = tx));
  expect(() => leaked!.hosts.put(aHost({}))).toThrow('outside state.update()');
  // @ts-expect-error an update may not be asynchronous
  await expect(state.update(async () => 1)).rejects.toThrow('asynchronous');
  await expect(state.update(() => void state.update(() => 1).catch(() => {}))).resolves.toBeUndefined();
});

test('pages of names and of jobs are in order', async () => {
  const { state } = await open();
  const names = Array.from({ length: 2000 }, (_, n) => `vm-${(n * 7919) % 2000}`);
  await state.update((tx) => names.slice(0, 1000).forEach((name) => tx.vms.put(aVm({ name }))));
  expect(state.tables.vms.afterName('', 3).map((v) => v.name)).toEqual(names.slice(0, 1000).sort().slice(0, 3));
  await state.update((tx) => names.slice(1000).forEach((name) => tx.vms.put(aVm({ name }))));
  const paged: string[] = [];
  for (let page = state.tables.vms.afterName('', 64); page.length; page = state.tables.vms.afterName(paged.at(-1)!, 64))
    paged.push(...page.map((v) => v.name));
  expect(paged).toEqual([...names].sort());
  expect([...state.tables.vms.values()].map((v) => v.id)).toEqual(
    [...state.tables.vms.values()].map((v) => v.id).sort(),
  );
});

test('ended jobs leave memory but not history, unless an open job still waits for them', async () => {
  const { state } = await open();
  const waiter = aJob({});
  const awaited = aJob({ state: 'succeeded', waiters: [waiter.id] });
  await state.update((tx) => (tx.jobs.put(waiter), tx.jobs.put(awaited)));
  const first = aJob({ state: 'failed' });
  await state.update((tx) => tx.jobs.put(first));
  await state.update((tx) => Array.from({ length: 1000 }, () => tx.jobs.put(aJob({ state: 'succeeded' }))).length);
  expect(state.tables.jobs.get(first.id)).toBeUndefined();
  expect(state.tables.jobs.get(awaited.id)).toBeDefined();
  expect((await state.jobHistory({ id: first.id, limit: 1 }))[0]?.job).toEqual(JSON.parse(JSON.stringify(first)));
  expect(state.tables.jobs.open()).toEqual([waiter]);
  expect(state.tables.jobs.newest(1, undefined, true)).toEqual([waiter]);
  const ids = state.tables.jobs.newest(5, undefined, false).map((j) => j.id);
  expect(ids).toEqual([...ids].sort().reverse());
});

test('only an open job has a log to write', async () => {
  const { state } = await open();
  const e = { step: 'a', type: 'started' } as const;
  await expect(state.update((tx) => tx.appendJobEvent(newId('job', 0) as JobId, e))).rejects.toThrow('no such job');
  expect((aVm({}).id as VmId).startsWith('vm-')).toBe(true);
});
