import { beforeEach, expect, it } from 'vitest';
import type { HostId } from '@berth/shared/model/ids.ts';
import { enrolledHost, memoryState, newHostId } from '../hosts/testing.ts';
import { aJob } from '../state/samples.ts';
import type { State } from '../state/state.ts';
import { acknowledgeEnded } from './acknowledge.ts';

let state: State;
let hostId: HostId;
let told: string[][];
beforeEach(async () => {
  told = [];
  state = await memoryState();
  hostId = newHostId();
  await state.update((tx) => tx.hosts.put(enrolledHost({ id: hostId, name: 'h1', address: 'h1:7444' })));
});
const acknowledge = (...operationIds: string[]) =>
  acknowledgeEnded(
    state.tables,
    { id: hostId, operationIds },
    { acknowledgeOperations: async (prefixes) => void told.push([...prefixes]) },
    'run-now',
  );

it('forgets operations of ended and unknown jobs, and of debts that an earlier run paid, in one call', async () => {
  const ended = aJob({ state: 'failed', endedAtMs: 1 });
  await state.update((tx) => tx.jobs.put(ended));
  await acknowledge(`${ended.id}.boot`, `${ended.id}.define`, 'job-unknown.fetch', 'debt.run-then.1.off');
  expect(told).toEqual([[`${ended.id}.`, 'job-unknown.', 'debt.run-then.']]);
});

it('keeps those of open and stuck jobs, of debts that are paid now, of debts that ask how one ended, and of strangers', async () => {
  const [open, stuck] = [aJob({ state: 'waiting' }), aJob({ state: 'stuck' })];
  await state.update((tx) => {
    tx.jobs.put(open);
    tx.jobs.put(stuck);
    tx.debts.put({ id: 'd', hostId, kind: 'operation', target: 'job-gone.import', vmId: undefined, why: '' });
  });
  await acknowledge(`${open.id}.fetch`, `${stuck.id}.x`, 'debt.run-now.1.off', 'job-gone.import', 'what');
  expect(told).toEqual([]);
});

it('asks in portions', async () => {
  await acknowledge(...Array.from({ length: 1_200 }, (_, i) => `job-${i}.step`));
  expect(told.map((t) => t.length)).toEqual([500, 500, 200]);
});
