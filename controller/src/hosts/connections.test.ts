/** Hosts over real TLS and gRPC, against an agent that misbehaves as told. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { DomainPower, DomainStatus } from '@berth/proto/agent/v1/domain.ts';
import { VolumeStatus } from '@berth/proto/agent/v1/volume.ts';
import { Operation, OperationState } from '@berth/proto/agent/v1/operation.ts';
import { status as Status } from '@grpc/grpc-js';
import { newId, type HostId, type VmId } from '@berth/shared/model/ids.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import type { Trust } from '../trust/identity.ts';
import type { State } from '../state/state.ts';
import { aVm } from '../state/samples.ts';
import { viewVm } from '../app/vm-view.ts';
import { facts as aFacts } from '../../../test/harness/world-builder.ts';
import { createHosts, type HostsOptions, type RunningHosts } from './connections.ts';
import type { PowerEdge } from './reports.ts';
import { FakeAgent } from './fake-agent.ts';
import { createFence } from './fence.ts';
import { addHost, enrolledHost, hostTls, memoryState, newHostId, newIdentity, silentLog } from './testing.ts';

const until = (check: () => void) => vi.waitFor(check, { timeout: 15_000, interval: 20 });
let identity: Trust;
let state: State;
let hosts: RunningHosts;
let agents: FakeAgent[] = [];

beforeAll(async () => {
  identity = await newIdentity('installation-0000000000000000000000');
});
beforeEach(async () => {
  state = await memoryState();
});
afterEach(() => {
  hosts.stop();
  for (const a of agents) a.stop();
  agents = [];
});

function start(o: Partial<HostsOptions> = {}) {
  const fence = createFence(state, 'run-1', []);
  hosts = createHosts({ state, identity, clock: systemClock, random: systemRandom, log: silentLog, fence, ...o });
  hosts.start();
}
async function add(name: string): Promise<FakeAgent> {
  const agent = await addHost(state, identity, name);
  agents.push(agent);
  return agent;
}
const stateOf = (agent: FakeAgent) => hosts.status(agent.hostId as HostId).state;
const reasonOf = (agent: FakeAgent) => hosts.status(agent.hostId as HostId).reason;
const isUp = (agent: FakeAgent) => until(() => expect(stateOf(agent)).toBe('up'));
const domain = (o: Partial<DomainStatus>) =>
  DomainStatus.fromPartial({ uuid: 'u1', name: 'web', power: DomainPower.RUNNING, ...o });
async function vmOn(agent: FakeAgent, name = 'web') {
  const vm = { ...aVm({ name }), hostId: agent.hostId as HostId, phase: 'ready' as const };
  await state.update((tx) => tx.vms.put(vm));
  return vm;
}
const eventTypes = async () => (await state.events({ limit: 100 })).map((e) => e.type);

describe('a host whose agent answers', () => {
  it('comes up with its facts, and calls carry the fence', async () => {
    const agent = await add('h1');
    start();
    await isUp(agent);
    expect(hosts.status(agent.hostId as HostId).facts?.cpuThreads).toBe(8);
    const view = await hosts.agent(agent.hostId as HostId).startDomain('job-1.start', { uuid: 'u', vmId: 'v' });
    expect(view).toMatchObject({ id: 'job-1.start', state: 'succeeded' });
    expect(agent.calls.at(-1)?.fence).toMatchObject({ installationId: state.installationId, runId: 'run-1' });
    expect(hosts.operation('job-1.start')?.state).toBe('succeeded');
  });

  it('that is added while the controller runs is dialled at once', async () => {
    start();
    await isUp(await add('h1'));
    expect(await eventTypes()).toContain('host.up');
  });

  it('reports its VMs, and they are unknown when its libvirt is', async () => {
    const agent = await add('h1');
    const vm = await vmOn(agent);
    agent.domains = [domain({ uuid: vm.uuid, vmId: vm.id })];
    start();
    await isUp(agent);
    expect(hosts.vm(vm.id)?.power).toBe('running');
    agent.send({ $case: 'sources', value: { complete: ['volumes'] } });
    await until(() => expect(hosts.vm(vm.id)?.power).toBe('unknown'));
    expect(hosts.view(vm.hostId)).toEqual({ reachable: true, complete: false });
  });

  it('tells what our volumes take of the pool now, so that thin growth is not counted twice', async () => {
    const agent = await add('h1');
    start();
    await isUp(agent);
    const volume = (volumeId: string, allocatedBytes: bigint) =>
      agent.send({ $case: 'volume', value: VolumeStatus.fromPartial({ volumeId, allocatedBytes }) });
    volume('volume-1', 3n);
    volume('volume-2', 4n);
    volume('volume-1', 5n);
    const allocated = () => hosts.status(agent.hostId as HostId).volumesAllocatedBytes;
    await until(() => expect(allocated()).toBe(9));
    agent.send({ $case: 'removed', value: { kind: 'volume', id: 'volume-2' } });
    await until(() => expect(allocated()).toBe(5));
  });

  it('is shown as it was last seen, after a restart of the controller, until it has reported', async () => {
    const agent = await add('h1');
    const vm = await vmOn(agent);
    const hostId = agent.hostId as HostId;
    const facts = aFacts({ cpuThreads: 3 });
    const atMs = systemClock.now() - 12_000;
    agent.silent = true;
    start({ lastSeen: (id) => (id === hostId ? { hostId, atMs, facts, vms: { [vm.id]: 'running' } } : undefined) });
    expect(hosts.vm(vm.id)).toMatchObject({ power: 'unknown', reason: 'last seen running', seenAtMs: atMs });
    expect(hosts.status(hostId)).toMatchObject({ lastSeenMs: atMs, facts: { cpuThreads: 3 } });
    expect([...hosts.lastSeen()]).toEqual([{ hostId, atMs, facts, vms: { [vm.id]: 'running' } }]);
    const seen = { tables: state.tables, hosts, nowMs: atMs + 12_000 };
    expect(viewVm(vm, seen)).toMatchObject({ state: 'unknown' });
    expect(viewVm(vm, seen).reason).toMatch(/^last seen running 12 s ago, h1 connecting for 0 s$/);
    agent.silent = false;
    agent.domains = [domain({ uuid: vm.uuid, vmId: vm.id, power: DomainPower.STOPPED })];
    await isUp(agent);
    expect(hosts.vm(vm.id)?.power).toBe('stopped');
    expect(hosts.status(hostId).facts?.cpuThreads).toBe(8);
    expect([...hosts.lastSeen()][0]?.vms).toEqual({ [vm.id]: 'stopped' });
  });

  it('gives the operations that its agent still keeps when it comes up, once', async () => {
    const agent = await add('h1');
    agent.operations = [Operation.fromPartial({ id: 'job-1.boot', state: OperationState.SUCCEEDED })];
    const told: unknown[] = [];
    start({ onUp: (host) => told.push(host) });
    await isUp(agent);
    expect(told).toEqual([{ id: agent.hostId, operationIds: ['job-1.boot'] }]);
  });

  it('tells of power changes, from the first report on', async () => {
    const agent = await add('h1');
    const vm = await vmOn(agent);
    agent.domains = [domain({ uuid: vm.uuid, vmId: vm.id })];
    const edges: PowerEdge[] = [];
    start({ onPower: (e) => edges.push(e) });
    await isUp(agent);
    agent.setPower(vm.uuid, DomainPower.STOPPED, 'shutdown');
    await until(() => expect(edges).toHaveLength(2));
    expect(edges).toMatchObject([
      { before: undefined, after: 'running' },
      { before: 'running', after: 'stopped', reason: 'shutdown' },
    ]);
  });

  it('is asked for a whole snapshot over a new connection when it left out messages', async () => {
    const agent = await add('h1');
    start();
    await isUp(agent);
    agent.send({ $case: 'heartbeat', value: {} }, 3n);
    await until(() => expect(agent.watches).toBe(2));
    await isUp(agent);
  });

  it('forgets a domain that a complete new snapshot no longer has', async () => {
    const agent = await add('h1');
    const vm = await vmOn(agent);
    agent.domains = [domain({ uuid: vm.uuid, vmId: vm.id })];
    start();
    await isUp(agent);
    agent.domains = [];
    agent.breakWatch();
    await until(() => expect(hosts.vm(vm.id)).toBeUndefined());
    await isUp(agent);
  });

  it('cannot speak of VMs or operations of others, and that is recorded once', async () => {
    const [liar, owner] = [await add('h1'), await add('h2')];
    const vm = await vmOn(owner);
    owner.domains = [domain({ uuid: vm.uuid, vmId: vm.id })];
    liar.domains = [domain({ uuid: vm.uuid, vmId: vm.id, power: DomainPower.STOPPED })];
    start();
    await isUp(liar);
    await isUp(owner);
    expect(hosts.vm(vm.id)?.power).toBe('running');
    liar.setPower(vm.uuid, DomainPower.CRASHED, '');
    await hosts.agent(owner.hostId as HostId).startDomain('job-1.start', { uuid: vm.uuid, vmId: vm.id });
    liar.send({
      $case: 'operation',
      value: Operation.fromPartial({ id: 'job-1.start', state: OperationState.FAILED }),
    });
    await hosts.agent(liar.hostId as HostId).shutdownDomain('job-2.stop', { uuid: 'x', vmId: 'y' });
    expect(hosts.vm(vm.id)?.power).toBe('running');
    expect(hosts.operation('job-1.start')?.state).toBe('succeeded');
    const told = (await state.events({ limit: 100 })).filter((e) => e.type === 'host.misreported');
    expect(told.map((e) => e.message)).toEqual([
      expect.stringMatching(/^host h1: domain web .* belongs to h2: ignored$/),
    ]);
  });

  it('waits with coming up until what was left is removed', async () => {
    const agent = await add('h1');
    let release = () => {};
    const paid = new Promise<void>((resolve) => (release = resolve));
    start({ prepare: () => paid });
    await until(() => expect(reasonOf(agent)).toBe('removing what was left'));
    expect(stateOf(agent)).toBe('connecting');
    expect(() => hosts.agent(agent.hostId as HostId)).toThrow(/host h1 is connecting/);
    release();
    await isUp(agent);
  });
});

describe('a host that fails', () => {
  it('is unreachable when it falls silent, its calls fail, and it comes back over a new connection', async () => {
    const agent = await add('h1');
    start();
    await isUp(agent);
    agent.silent = true;
    await until(() => expect(stateOf(agent)).toBe('unreachable'));
    expect(reasonOf(agent)).toBe('no sign of life for 6 s');
    expect(() => hosts.agent(agent.hostId as HostId)).toThrow(/unreachable/);
    agent.silent = false;
    await isUp(agent);
    expect(agent.watches).toBeGreaterThan(1);
    expect(await eventTypes()).toEqual(expect.arrayContaining(['host.up', 'host.unreachable', 'host.up']));
  });

  it('is connecting for a moment when its agent restarts, and calls in flight fail as unknown', async () => {
    const agent = await add('h1');
    start();
    await isUp(agent);
    agent.stop();
    await until(() => expect(stateOf(agent)).toBe('connecting'));
    await agent.start();
    await isUp(agent);
    expect(await eventTypes()).not.toContain('host.unreachable');
  });

  it('is unreachable at once, with the reason, when nothing listens', async () => {
    const id = newHostId();
    await state.update((tx) => tx.hosts.put(enrolledHost({ id, name: 'h1', address: '127.0.0.1:1' })));
    start();
    await until(() => expect(hosts.status(id).state).toBe('unreachable'));
    expect(hosts.status(id).reason).toBe('127.0.0.1:1: nothing listens there: is the agent running?');
  });

  it('that hangs in the handshake costs one socket at a time', async () => {
    const open = new Set<Socket>();
    let seen = 0;
    const hung = createServer((socket) => {
      seen++;
      open.add(socket);
      socket
        .resume()
        .on('error', () => undefined)
        .once('close', () => open.delete(socket));
    }).listen(0, '127.0.0.1');
    await once(hung, 'listening');
    const id = newHostId();
    const address = `127.0.0.1:${(hung.address() as AddressInfo).port}`;
    await state.update((tx) => tx.hosts.put(enrolledHost({ id, name: 'h1', address })));
    start();
    await until(() => expect(hosts.status(id).reason).toMatch(/: it does not answer$/));
    await until(() => expect(seen).toBe(2));
    expect(open.size).toBe(1);
    hosts.stop();
    await until(() => expect(open.size).toBe(0));
    hung.close();
  });

  it('that never finishes its report is never up, and says so', async () => {
    const agent = await add('h1');
    const vm = await vmOn(agent);
    agent.endless = true;
    agent.domains = [domain({ uuid: vm.uuid, vmId: vm.id })];
    let later = 0;
    start({ clock: { ...systemClock, monotonic: () => systemClock.monotonic() + later } });
    await until(() => expect(agent.watches).toBe(1));
    expect(hosts.vm(vm.id)).toBeUndefined();
    expect(() => hosts.agent(agent.hostId as HostId)).toThrow(/host h1 is connecting/);
    later = 61_000;
    await until(() => expect(reasonOf(agent)).toBe('it does not finish its report'));
    expect(stateOf(agent)).toBe('unreachable');
    agent.endless = false;
    await isUp(agent);
    expect(hosts.vm(vm.id)?.power).toBe('running');
  });

  it('that answers a call after the caller has given up changes nothing by it', async () => {
    const [agent, other] = [await add('h1'), await add('h2')];
    start();
    await isUp(agent);
    await isUp(other);
    await hosts.agent(other.hostId as HostId).startDomain('job-1.start', { uuid: 'u', vmId: 'v' });
    await hosts.agent(other.hostId as HostId).acknowledgeOperations(['job-1.']);
    for (const a of [agent, other])
      a.send({
        $case: 'operation',
        value: Operation.fromPartial({ id: 'job-1.start', state: OperationState.FAILED }),
      });
    await hosts.agent(agent.hostId as HostId).startDomain('job-2.start', { uuid: 'u', vmId: 'v' });
    await until(() => expect(hosts.operation('job-2.start')?.state).toBe('succeeded'));
    expect(hosts.operation('job-1.start')).toBeUndefined();
  });

  it('tells in the words of its agent why that refuses', async () => {
    const agent = await add('h1');
    agent.watchError = { code: Status.FAILED_PRECONDITION, details: 'it is being upgraded', reason: 'BAD_STATE' };
    start();
    await until(() => expect(reasonOf(agent)).toBe('its agent refuses: it is being upgraded'));
    expect(stateOf(agent)).toBe('unreachable');
  });

  it('is connecting while its agent still has the former run of the controller', async () => {
    const agent = await add('h1');
    agent.watchError = {
      code: Status.PERMISSION_DENIED,
      details: 'another run is connected',
      reason: 'WRONG_CONTROLLER',
    };
    start();
    await until(() => expect(reasonOf(agent)).toBe('its agent refuses: another run is connected'));
    expect(stateOf(agent)).toBe('connecting');
    agent.watchError = undefined;
    await isUp(agent);
    expect(await eventTypes()).toEqual(['host.up']);
  });
});

describe('a certificate fault', () => {
  const YEAR = 366 * 86_400_000;
  async function withTls(make: (id: HostId) => ReturnType<typeof hostTls>): Promise<FakeAgent> {
    const id = newHostId();
    const agent = new FakeAgent(id, await make(id));
    await agent.start();
    agents.push(agent);
    await state.update((tx) => tx.hosts.put(enrolledHost({ id, name: 'h1', address: agent.address })));
    return agent;
  }
  it.each([
    ['of another host', () => hostTls(identity, newHostId()), /that of host host-/],
    ['that has expired', (id: HostId) => hostTls(identity, id, systemClock.now() - YEAR), /has expired/],
    [
      'of another authority',
      async (id: HostId) => {
        const other = await newIdentity('installation-other');
        return { ...(await hostTls(other, id)), caPem: identity.caPem };
      },
      /another authority/,
    ],
  ])('is its own state: a certificate %s', async (_, make, words) => {
    const agent = await withTls(make);
    start();
    await until(() => expect(stateOf(agent)).toBe('certificate-fault'));
    expect(reasonOf(agent)).toMatch(words);
    expect(await eventTypes()).toContain('host.certificate-fault');
  });

  it('is found when the agent does not accept the controller', async () => {
    const other = await newIdentity('installation-other');
    const agent = await withTls(async (id) => ({ ...(await hostTls(identity, id)), caPem: other.caPem }));
    start();
    await until(() => expect(stateOf(agent)).toBe('certificate-fault'));
    expect(reasonOf(agent)).toMatch(/does not accept the controller's certificate/);
  });
});

describe('a removed or moved host', () => {
  it('is let go of when it is removed', async () => {
    const agent = await add('h1');
    start();
    await isUp(agent);
    await state.update((tx) => tx.hosts.delete(agent.hostId));
    await until(() => expect(stateOf(agent)).toBe('unreachable'));
    expect(hosts.vm(newId('vm', 1) as VmId)).toBeUndefined();
  });

  it('shows maintenance only while it can be reached', async () => {
    const agent = await add('h1');
    start();
    await isUp(agent);
    const host = state.tables.hosts.get(agent.hostId);
    await state.update((tx) => tx.hosts.put({ ...host!, maintenance: true }));
    await until(() => expect(stateOf(agent)).toBe('maintenance'));
    expect(() => hosts.agent(agent.hostId as HostId)).not.toThrow();
  });
});
