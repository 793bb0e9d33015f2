/** Agents one version older and newer: fields, enum values and messages that nobody here knows break nothing. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DomainPower, DomainStatus } from '@berth/proto/agent/v1/domain.ts';
import { Operation } from '@berth/proto/agent/v1/operation.ts';
import { newId, type HostId } from '@berth/shared/model/ids.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import { eventually } from '@berth/test/harness/processes.ts';
import { aVm } from '../state/samples.ts';
import type { State } from '../state/state.ts';
import type { Identity } from '../trust/identity.ts';
import { createHosts, type RunningHosts } from './connections.ts';
import { FakeAgent } from './fake-agent.ts';
import { createFence } from './fence.ts';
import { enrolledHost, hostTls, memoryState, newHostId, newIdentity, silentLog } from './testing.ts';

let state: State;
let identity: Identity;
let agent: FakeAgent;
let hosts: RunningHosts;
let vm: Vm;
beforeEach(async () => {
  state = await memoryState();
  identity = await newIdentity(state.installationId);
  const id = newHostId();
  agent = new FakeAgent(id, await hostTls(identity, id));
  vm = aVm({ name: 'web', phase: 'ready', hostId: id });
});
afterEach(() => {
  hosts.stop();
  agent.stop();
});

async function up(): Promise<void> {
  await agent.start();
  const { address } = agent;
  await state.update((tx) => {
    tx.hosts.put(enrolledHost({ id: agent.hostId as HostId, name: 'h1', address }));
    tx.vms.put(vm);
  });
  hosts = createHosts({
    state,
    identity,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    fence: createFence(state, newId('run', systemClock.now()), []),
  });
  hosts.start();
  await eventually('up', async () => hosts.status(agent.hostId as HostId).state === 'up');
}

const domain = (power: number): DomainStatus =>
  DomainStatus.fromPartial({ uuid: vm.uuid, vmId: vm.id, name: 'web', power: power as DomainPower });

/** Field 900, of each wire type: a number, text, eight and four bytes. */
const UNKNOWN = Buffer.concat([
  Buffer.from([0xa0, 0x38, 0x2a]),
  Buffer.from([0xa2, 0x38, 0x03, 0x66, 0x6f, 0x6f]),
  Buffer.from([0xa1, 0x38, 1, 2, 3, 4, 5, 6, 7, 8]),
  Buffer.from([0xa5, 0x38, 1, 2, 3, 4]),
]);

describe('a newer agent', () => {
  it('may add fields to every message and kinds of messages to Watch', async () => {
    agent.domains = [domain(DomainPower.RUNNING)];
    agent.disguise = (bytes) => Buffer.concat([bytes, UNKNOWN]);
    await up();
    expect(hosts.vm(vm.id)).toMatchObject({ power: 'running' });
    // a message of which this version knows nothing but its number
    agent.send(undefined as never);
    agent.setPower(vm.uuid, DomainPower.STOPPED, 'shutdown');
    await eventually('it goes on', async () => hosts.vm(vm.id)?.power === 'stopped');
    expect(agent.watches).toBe(1);
    const client = hosts.agent(agent.hostId as HostId);
    expect(await client.startDomain('job-1.boot', { uuid: vm.uuid, vmId: vm.id })).toMatchObject({
      state: 'succeeded',
    });
  });

  it('may have powers, states, reasons, sources and kinds of objects that nobody knows', async () => {
    agent.domains = [domain(99)];
    agent.operations = [Operation.fromPartial({ id: 'job-1.x', state: 99 as never })];
    agent.sources = [...agent.sources, 'tapes'];
    agent.capabilities = [...agent.capabilities, 'time.travel'];
    agent.answers.set('startDomain', () => ({ state: 77 as never }));
    agent.answers.set('ensureDomain', () => ({ state: 3 as never, errorReason: 'TOO_TIRED', errorMessage: 'no' }));
    await up();
    expect(hosts.vm(vm.id)).toMatchObject({ power: 'unknown' });
    agent.send({ $case: 'removed', value: { kind: 'tape', id: 'x' } });
    agent.send({ $case: 'sources', value: { complete: ['tapes', 'domains'] } });
    agent.setPower(vm.uuid, DomainPower.RUNNING, 'what a reason');
    await eventually('it goes on', async () => hosts.vm(vm.id)?.power === 'running');
    expect(agent.watches).toBe(1);
    const client = hosts.agent(agent.hostId as HostId);
    // a state that is not known is not an end
    expect(await client.startDomain('job-1.b', { uuid: vm.uuid, vmId: vm.id })).toMatchObject({ state: 'running' });
    const failed = await client.ensureDomain('job-1.e', {
      ...vm.spec,
      vmId: vm.id,
      uuid: vm.uuid,
      name: vm.name,
      generation: 1,
    });
    expect(failed).toMatchObject({ state: 'failed', error: { reason: 'TOO_TIRED' } });
  });
});

describe('an older agent', () => {
  it('that lacks every feature is up, and tells so', async () => {
    agent.capabilities = [];
    await up();
    expect(hosts.status(agent.hostId as HostId).facts?.capabilities).toEqual([]);
  });

  it('that does not know a method is unsupported there, not unreachable', async () => {
    await up();
    const client = hosts.agent(agent.hostId as HostId);
    await expect(client.describeDomain({ uuid: vm.uuid, vmId: vm.id })).rejects.toMatchObject({
      reason: 'UNSUPPORTED',
    });
    expect(hosts.status(agent.hostId as HostId).state).toBe('up');
  });
});
