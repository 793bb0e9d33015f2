/** How often statistics are wanted reaches the agents that can be told, again after each break, and never those that cannot. */
import { status as Status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { newId, type HostId } from '@berth/shared/model/ids.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import { eventually } from '@berth/test/harness/processes.ts';
import type { State } from '../state/state.ts';
import type { Identity } from '../trust/identity.ts';
import { createHosts, type RunningHosts } from './connections.ts';
import { FakeAgent } from './fake-agent.ts';
import { createFence } from './fence.ts';
import { RHYTHM_CAPABILITY } from './rhythm.ts';
import { enrolledHost, hostTls, memoryState, newHostId, newIdentity, silentLog } from './testing.ts';

let state: State;
let identity: Identity;
let agent: FakeAgent;
let hosts: RunningHosts;
let wanted = 30_000;
beforeEach(async () => {
  state = await memoryState();
  identity = await newIdentity(state.installationId);
  agent = await newAgent();
  wanted = 30_000;
});
afterEach(() => {
  hosts.stop();
  agent.stop();
});

async function newAgent(): Promise<FakeAgent> {
  const id = newHostId();
  return new FakeAgent(id, await hostTls(identity, id));
}

async function up(...agents: FakeAgent[]): Promise<void> {
  for (const a of agents) await a.start();
  await state.update((tx) => {
    for (const { hostId, address } of agents)
      tx.hosts.put(enrolledHost({ id: hostId as HostId, name: `h-${hostId}`, address }));
  });
  hosts = createHosts({
    ...{ state, identity, clock: systemClock, random: systemRandom, log: silentLog },
    fence: createFence(state, newId('run', systemClock.now()), []),
    wantedIntervalMs: () => wanted,
  });
  hosts.start();
  const isUp = (a: FakeAgent) => hosts.status(a.hostId as HostId).state === 'up';
  await eventually('up', async () => agents.every(isUp));
}

const told = (...intervals: number[]) =>
  eventually('it is told', async () => agent.intervals.join() === intervals.join());

it('tells an agent once what is wanted, and what is wanted then; after a break anew', async () => {
  agent.capabilities = [RHYTHM_CAPABILITY];
  const older = await newAgent();
  older.capabilities = [];
  try {
    await up(agent, older);
    await told(30_000);
    wanted = 10_000;
    await told(30_000, 10_000);
    wanted = 30_000;
    await told(30_000, 10_000, 30_000);
    agent.breakWatch();
    await told(30_000, 10_000, 30_000, 30_000);
    wanted = 10_000;
    await told(30_000, 10_000, 30_000, 30_000, 10_000);
    expect(older.intervals).toEqual([]);
  } finally {
    older.stop();
  }
});

it('tells it again where that failed, and says nothing while the watch tells as often as is wanted', async () => {
  agent.capabilities = [RHYTHM_CAPABILITY];
  agent.refuseInterval = { code: Status.UNAVAILABLE, details: 'not now' };
  wanted = 10_000;
  await up(agent);
  expect(agent.intervals).toEqual([]);
  wanted = 30_000;
  await eventually('it is told again', async () => agent.intervals.length >= 2);
  agent.refuseInterval = undefined;
  const before = agent.intervals.length;
  wanted = 10_000;
  await eventually('it has heard', async () => agent.intervals.slice(before).includes(10_000));
  expect(hosts.status(agent.hostId as HostId).state).toBe('up');
});
