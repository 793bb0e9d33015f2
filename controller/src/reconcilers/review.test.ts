/** Between a restore and the word of a person nothing is done unasked on a host; afterwards what was held back is done. */
import { expect, it } from 'vitest';
import type { AgentClient } from '../hosts/agent-client.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { memoryState, silentLog } from '../hosts/testing.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { aHost, aJob, aVm } from '../state/samples.ts';
import { Reconcilers } from './reconcilers.ts';

it('debts, power, run policies and the ledgers of agents wait', async () => {
  const state = await memoryState();
  const clock = new SimClock();
  const host = aHost({ name: 'h1' });
  const vm = aVm({ name: 'web', phase: 'ready', hostId: host.id, desiredPower: 'on' });
  const ended = aJob({ state: 'cancelled', endedAtMs: 1 });
  await state.update((tx) => {
    tx.hosts.put(host);
    tx.vms.put({ ...vm, spec: { ...vm.spec, runPolicy: 'always' } });
    tx.jobs.put(ended);
    tx.debts.put({ id: 'd', hostId: host.id, kind: 'volume', target: 'volume-1', vmId: undefined, why: 'x' });
    tx.reviews.put({ hostId: host.id, restoredAtMs: 2, backupAtMs: 1 });
  });
  const calls: string[] = [];
  const done = { state: 'succeeded' as const };
  const agent = {
    removeVolume: async (id: string, volume: string) => (calls.push(`remove ${volume}`), { ...done, id }),
    cancelOperation: async (id: string) => (calls.push(`cancel ${id}`), { ...done, id }),
    acknowledgeOperations: async (ids: string[]) => void calls.push(`acknowledge ${ids.join()}`),
  } as unknown as AgentClient;
  const observed = { vmId: vm.id, hostId: host.id, power: 'stopped' as const, reason: 'crashed', seenAtMs: 0 };
  const hosts = {
    agent: () => agent,
    subscribe: () => () => undefined,
    status: () => ({ state: 'up' }),
    view: () => ({ reachable: true, complete: true }),
    vm: () => observed,
  } as unknown as Hosts;
  const jobs = { start: () => (calls.push('start'), ended.id) } as unknown as Jobs;
  const reconcilers = new Reconcilers({ state, clock, log: silentLog, runId: 'run-1' });
  reconcilers.start(hosts, jobs);
  const { hooks } = reconcilers;
  const edge = { vmId: vm.id, hostId: host.id, before: 'running', after: 'stopped', reason: 'crashed' } as const;
  const operationIds = [`${ended.id}.fetch`];
  expect(hooks.prepare(host.id, agent)).toBeUndefined();
  hooks.onUp({ id: host.id, operationIds }, agent);
  hooks.onPower(edge);
  hooks.onPower({ ...edge, reason: 'shutdown' });
  await state.update((tx) =>
    tx.debts.put({ id: 'e', hostId: host.id, kind: 'image', target: 'i', vmId: undefined, why: 'x' }),
  );
  await clock.advance(3_600_000);
  expect(calls).toEqual([]);
  expect(state.tables.vms.get(vm.id)?.desiredPower).toBe('on');

  await state.update((tx) => {
    tx.debts.delete('e');
    tx.reviews.delete(host.id);
  });
  await clock.advance(60_000);
  expect(new Set(calls)).toEqual(
    new Set([`cancel ${ended.id}.fetch`, `acknowledge ${ended.id}.`, 'remove volume-1', 'acknowledge debt.run-1.']),
  );
  reconcilers.stop();
});
