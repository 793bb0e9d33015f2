import { beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { CleanupDebt } from '@berth/shared/model/access.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { systemClock, type Clock } from '@berth/shared/runtime/clock.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import type { RunPolicy, Vm, VmObserved, VmPower } from '@berth/shared/model/vm.ts';
import type { AgentClient, OperationView } from '../hosts/agent-client.ts';
import type { PowerEdge } from '../hosts/reports.ts';
import type { HostStatus } from '../hosts/hosts.ts';
import { enrolledHost, memoryState, newHostId, silentLog } from '../hosts/testing.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { fetchKey } from '../jobs/image-fetch.ts';
import { aJob, anImage, aVm } from '../state/samples.ts';
import type { State } from '../state/state.ts';
import { Debts } from './debts.ts';
import { PowerFollower } from './power.ts';
import { Restarts } from './restarts.ts';

let state: State;
let hostId: HostId;
beforeEach(async () => {
  state = await memoryState();
  hostId = newHostId();
  await state.update((tx) => tx.hosts.put(enrolledHost({ id: hostId, name: 'h1', address: 'h1:7444' })));
});
const messages = async () => (await state.events({ limit: 100 })).map((e) => e.message);

describe('cleanup debts', () => {
  const debt = (kind: CleanupDebt['kind'], target: string): CleanupDebt => ({
    id: `debt-${target}`,
    hostId,
    kind,
    target,
    vmId: kind === 'domain' ? 'vm-1' : undefined,
    why: 'vm web was deleted',
  });
  function fakeAgent(fail: (call: string) => Error | undefined = () => undefined) {
    const calls: string[] = [];
    const done = (call: string, id = 'x'): Promise<OperationView> => {
      calls.push(call);
      const e = fail(call);
      const view = { id, doneBytes: 0, totalBytes: 0, needsSource: false, image: undefined };
      return e ? Promise.reject(e) : Promise.resolve({ ...view, state: 'succeeded', error: undefined });
    };
    const agent = {
      cancelOperation: (id: string) => done(`cancel ${id}`),
      forceOffDomain: (_: string, d: { uuid: string; vmId: string }) => done(`off ${d.uuid} ${d.vmId}`),
      removeDomain: (_: string, d: { uuid: string }) => done(`undefine ${d.uuid}`),
      removeVolume: (_: string, id: string) => done(`volume ${id}`),
      removeImage: (_: string, id: string) => done(`image ${id}`),
      acknowledgeOperations: () => Promise.resolve(),
    };
    return { agent: agent as unknown as AgentClient, calls };
  }
  const makeDebts = (clock: Clock = systemClock) => new Debts({ state, clock, log: silentLog, runId: 'run-1' });
  const owe = (...debts: CleanupDebt[]) => state.update((tx) => debts.forEach((d) => tx.debts.put(d)));

  it('are nothing to wait for when there are none', () => {
    expect(makeDebts().pay(hostId, fakeAgent().agent)).toBeUndefined();
  });

  it('are paid operations first, then domains, then volumes, and are gone then', async () => {
    await owe(debt('volume', 'v1'), debt('domain', 'u1'), debt('operation', 'job-1.x'));
    const { agent, calls } = fakeAgent();
    await makeDebts().pay(hostId, agent);
    expect(calls).toEqual(['cancel job-1.x', 'off u1 vm-1', 'undefine u1', 'volume v1']);
    expect(state.tables.debts.size).toBe(0);
    expect(await messages()).toContain('host h1: removed domain u1 (vm web was deleted)');
  });

  it('keep the host away while a domain cannot be removed', async () => {
    await owe(debt('domain', 'u1'), debt('volume', 'v1'));
    const { agent } = fakeAgent((call) =>
      call.startsWith('off') ? new ClusterError('HYPERVISOR_UNAVAILABLE', 'libvirt does not answer') : undefined,
    );
    await expect(makeDebts().pay(hostId, agent)).rejects.toThrow('domain u1');
    expect(state.tables.debts.size).toBe(2);
  });

  it('do not keep the host away when a volume cannot be removed, but are told', async () => {
    await owe(debt('volume', 'v1'), debt('image', 'sha256:1'));
    const { agent } = fakeAgent((call) =>
      call === 'volume v1' ? new ClusterError('IN_USE', 'domain x has it') : undefined,
    );
    await makeDebts().pay(hostId, agent);
    expect([...state.tables.debts.values()].map((d) => d.target)).toEqual(['v1']);
    expect(await messages()).toContain('host h1: could not remove volume v1: domain x has it');
  });
});

describe('the debt of a copy of an image', () => {
  const digest = 'sha256:1';
  const debt = { id: 'd1', kind: 'image', target: digest, vmId: undefined, why: '' } as const;
  const image = anImage({ name: 'base', digest });

  it('is forgotten when the copy is wanted again, and waits while that is not known', async () => {
    const clock = new SimClock();
    let tries = 0;
    const removeImage = async () => {
      if (++tries === 1) throw new ClusterError('HYPERVISOR_UNAVAILABLE', 'libvirt does not answer');
      return { state: 'succeeded' };
    };
    const agent = { removeImage, acknowledgeOperations: async () => undefined } as unknown as AgentClient;
    const end = new Debts({ state, clock, log: silentLog, runId: 'run-1' }).follow({
      agent: () => agent,
      subscribe: () => () => undefined,
    });
    await state.update((tx) => (tx.images.put(image), tx.debts.put({ ...debt, hostId })));
    await clock.advance(1_000);
    expect(tries).toBe(1);
    const copying = aJob({ kind: 'image.fetch', key: fetchKey({ imageId: image.id, hostId }) });
    await state.update((tx) => tx.jobs.put(copying));
    await clock.advance(600_000);
    expect([tries, state.tables.debts.size]).toEqual([1, 1]);
    await state.update((tx) => {
      tx.jobs.put({ ...copying, state: 'succeeded' });
      tx.imageCopies.put({ imageId: image.id, hostId, fileBytes: 1 });
    });
    await clock.advance(3_600_000);
    expect([tries, state.tables.debts.size]).toEqual([1, 0]);
    end();
  });
});

describe('the debts of a host that is up', () => {
  const debt: CleanupDebt = { id: 'd1', hostId: '' as HostId, kind: 'volume', target: 'v1', vmId: undefined, why: '' };

  it('are paid when they are made, and tried again and again, told once, until they can be paid', async () => {
    const clock = new SimClock();
    let tries = 0;
    let inUse = true;
    const removeVolume = async () => {
      tries++;
      if (inUse) throw new ClusterError('IN_USE', 'domain x has it');
      return { state: 'succeeded' };
    };
    const agent = { removeVolume, acknowledgeOperations: async () => undefined } as unknown as AgentClient;
    const end = new Debts({ state, clock, log: silentLog, runId: 'run-1' }).follow({
      agent: () => agent,
      subscribe: () => () => undefined,
    });
    await state.update((tx) => tx.debts.put({ ...debt, hostId }));
    const told = async () => (await messages()).filter((m) => m.includes('could not remove volume v1'));
    await clock.advance(60_000);
    expect(tries).toBeGreaterThan(3);
    expect(tries).toBeLessThan(7);
    expect(await told()).toHaveLength(1);
    expect(state.tables.debts.size).toBe(1);
    inUse = false;
    await clock.advance(120_000);
    expect(state.tables.debts.size).toBe(0);
    end();
  });
});

/** A VM on the host, wanted on unless said otherwise, with its claim. */
async function vmOf(o: { power?: Vm['desiredPower']; policy?: RunPolicy } = {}): Promise<Vm> {
  const base = aVm({ name: 'web' });
  const vm: Vm = {
    ...base,
    hostId,
    phase: 'ready',
    desiredPower: o.power ?? 'on',
    spec: { ...base.spec, disks: [], runPolicy: o.policy ?? 'manual' },
  };
  const claim = { vmId: vm.id, hostId, vcpus: 1, memoryBytes: 1, diskBytes: 1, powered: true };
  await state.update((tx) => (tx.vms.put(vm), tx.claims.put(claim)));
  return vm;
}

describe('the intended power of a vm', () => {
  const see = async (vm: Vm, e: Partial<PowerEdge>) => {
    new PowerFollower(state, new SimClock(), silentLog).see({
      vmId: vm.id,
      hostId,
      before: 'running',
      after: 'stopped',
      reason: 'shutdown',
      ...e,
    });
    await state.settled();
    return state.tables.vms.get(vm.id)?.desiredPower;
  };

  it.each(['manual', 'restartOnFailure'] as const)('follows a guest that shuts itself down (%s)', async (policy) => {
    const vm = await vmOf({ policy });
    expect(await see(vm, {})).toBe('off');
    expect(state.tables.claims.get(vm.id)?.powered).toBe(false);
    expect(await messages()).toEqual(['vm web was shut down from inside, or on its host']);
  });

  it('follows it also when the first report after a start says so', async () => {
    expect(await see(await vmOf(), { before: undefined })).toBe('off');
  });

  it.each([
    ['a crash', { after: 'crashed', reason: 'crashed' }],
    ['a stop of unknown reason, as after a reboot of the host', { reason: 'unknown' }],
    ['a plug that was pulled', { reason: 'destroyed' }],
  ] as const)('does not follow %s', async (_, edge) => {
    expect(await see(await vmOf(), edge)).toBe('on');
  });

  it('tells of a crash, once, and not of one that was there before', async () => {
    const vm = await vmOf();
    await see(vm, { before: undefined, after: 'crashed', reason: 'crashed' });
    expect(await messages()).toEqual([]);
    await see(vm, { after: 'crashed', reason: 'crashed' });
    expect(await messages()).toEqual(['vm web crashed. Start it again with: berth vm start web']);
  });

  it('stays on for a vm that shall always run', async () => {
    expect(await see(await vmOf({ policy: 'always' }), {})).toBe('on');
  });

  it('is left to the job that works on the vm', async () => {
    const vm = await vmOf();
    await state.update((tx) => tx.jobs.put(aJob({ locks: [`vm/${vm.id}:exclusive`] })));
    expect(await see(vm, {})).toBe('on');
  });

  it('follows a start on the host, but not a report that merely finds it running', async () => {
    const vm = await vmOf({ power: 'off' });
    expect(await see(vm, { before: undefined, after: 'running', reason: 'booted' })).toBe('off');
    expect(await see(vm, { before: 'stopped', after: 'running', reason: 'booted' })).toBe('on');
  });

  it('follows when the job that worked on the vm has ended, if the vm is still as it was seen', async () => {
    for (const [power, desired] of [
      ['stopped', 'off'],
      ['running', 'on'],
    ] as const) {
      const vm = await vmOf();
      const job = aJob({ locks: [`vm/${vm.id}:exclusive`] });
      await state.update((tx) => tx.jobs.put(job));
      const follower = new PowerFollower(state, new SimClock(), silentLog);
      const end = follower.follow({ vm: () => ({ vmId: vm.id, hostId, power, reason: '', seenAtMs: 0 }) });
      follower.see({ vmId: vm.id, hostId, before: 'running', after: 'stopped', reason: 'shutdown' });
      await state.update((tx) => tx.jobs.put({ ...job, state: 'failed', locks: [], endedAtMs: 1 }));
      await state.settled();
      expect(state.tables.vms.get(vm.id)?.desiredPower).toBe(desired);
      await state.update((tx) => (tx.claims.delete(vm.id), tx.vms.delete(vm.id)));
      end();
    }
  });
});

it('is followed now and then when a vm comes and goes without end, and its last change counts', async () => {
  const vm = await vmOf({ power: 'off' });
  const clock = new SimClock();
  const follower = new PowerFollower(state, clock, silentLog);
  let power: PowerEdge['after'] = 'stopped';
  const end = follower.follow({ vm: () => ({ vmId: vm.id, hostId, power, reason: '', seenAtMs: 0 }) });
  const turn = async (after: PowerEdge['after']) => {
    follower.see({ vmId: vm.id, hostId, before: power, after, reason: 'shutdown' });
    power = after;
    await state.settled();
  };
  for (let i = 0; i < 100; i++) await turn(i % 2 ? 'stopped' : 'running');
  await turn('running');
  expect((await messages()).length).toBe(20);
  expect(state.tables.vms.get(vm.id)?.desiredPower).toBe('off');
  await clock.advance(30_000);
  await state.settled();
  expect(state.tables.vms.get(vm.id)?.desiredPower).toBe('on');
  expect((await messages()).length).toBe(21);
  end();
});

describe('a vm with a run policy', () => {
  let clock: SimClock;
  let observed: VmObserved;
  let view: { reachable: boolean; complete: boolean };
  let started: number[];
  let restarts: Restarts;
  beforeEach(() => {
    clock = new SimClock();
    view = { reachable: true, complete: true };
    started = [];
  });
  function watch(vm: Vm): void {
    const hosts = { vm: () => observed, view: () => view, status: () => ({ state: 'up' }) as HostStatus };
    const jobs = {
      start: () => (started.push(clock.now()), 'job-1'),
    } as unknown as Pick<Jobs, 'start'>;
    restarts = new Restarts({ state, clock, log: silentLog, hosts, jobs });
    observed = { vmId: vm.id, hostId, power: 'running', reason: 'booted', seenAtMs: 0 };
  }
  function becomes(power: VmPower, reason: string): void {
    const before = observed.power;
    observed = { ...observed, power, reason };
    restarts.see({ vmId: observed.vmId, hostId, before, after: power, reason });
  }

  it.each([
    ['restartOnFailure', 'crashed', 'crashed', true],
    ['restartOnFailure', 'stopped', 'crashed', true],
    ['restartOnFailure', 'stopped', 'none', true],
    ['restartOnFailure', 'stopped', 'destroyed', false],
    ['always', 'stopped', 'shutdown', true],
    ['always', 'crashed', 'crashed', true],
    ['manual', 'crashed', 'crashed', false],
  ] as const)('%s: one that is %s (%s) is started again: %s', async (policy, power, reason, again) => {
    watch(await vmOf({ policy }));
    becomes(power, reason);
    await clock.advance(5_000);
    expect(started).toHaveLength(again ? 1 : 0);
  });

  it('is not started again when it shall be off', async () => {
    watch(await vmOf({ policy: 'always', power: 'off' }));
    becomes('stopped', 'shutdown');
    await clock.advance(60_000);
    expect(started).toEqual([]);
  });

  it('waits while its host cannot be trusted to know, and is left alone when it runs after all', async () => {
    watch(await vmOf({ policy: 'always' }));
    view = { reachable: true, complete: false };
    becomes('crashed', 'crashed');
    await clock.advance(60_000);
    expect(started).toEqual([]);
    observed = { ...observed, power: 'running' };
    view = { reachable: true, complete: true };
    await clock.advance(600_000);
    expect(started).toEqual([]);
  });

  it('is tried less and less often while it crashes, and afresh when it ran for a while', async () => {
    watch(await vmOf({ policy: 'restartOnFailure' }));
    for (let i = 0; i < 4; i++) {
      becomes('crashed', 'crashed');
      const before = started.length;
      for (let s = 0; s < 600 && started.length === before; s++) await clock.advance(1_000);
      becomes('running', 'booted');
    }
    const gaps = started.slice(1).map((at, i) => at - (started[i] ?? 0));
    expect(gaps).toEqual([10_000, 20_000, 40_000]);
    await clock.advance(11 * 60_000);
    becomes('crashed', 'crashed');
    const crashedAt = clock.now();
    await clock.advance(2_000);
    expect(started.at(-1)).toBe(crashedAt + 1_000);
    expect((await messages()).at(-1)).toBe('vm web crashed on h1: starting it again');
  });
});
