import { beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { CleanupDebt } from '@berth/shared/model/access.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { RunPolicy, Vm } from '@berth/shared/model/vm.ts';
import type { AgentClient, OperationView } from '../hosts/agent-client.ts';
import type { PowerEdge } from '../hosts/connections.ts';
import { enrolledHost, memoryState, newHostId, silentLog } from '../hosts/testing.ts';
import { aJob, aVm } from '../state/samples.ts';
import type { State } from '../state/state.ts';
import { Debts } from './debts.ts';
import { followPower } from './power.ts';

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
  const makeDebts = () => new Debts({ state, clock: systemClock, log: silentLog, runId: 'run-1' });
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

describe('the intended power of a vm', () => {
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
  const see = async (vm: Vm, e: Partial<PowerEdge>) => {
    followPower(state, silentLog, {
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
});
