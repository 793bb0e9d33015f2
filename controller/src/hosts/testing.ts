/** What the tests of hosts, app and api share: a state in memory, an authority, enrolled hosts with fake agents. */
import { pino } from 'pino';
import { newId, type HostId } from '@berth/shared/model/ids.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { Store } from '../state/store.ts';
import type { State } from '../state/state.ts';
import { DEFAULT_LIFETIMES, type Authority } from '../trust/authority.ts';
import { checkRequest } from '../trust/csr.ts';
import { newRequest } from '../trust/testing.ts';
import { newTrust, Trust } from '../trust/identity.ts';
import { FakeAgent } from './fake-agent.ts';

export const silentLog = pino({ level: 'silent' });

export const memoryState = (): Promise<State> =>
  Store.open({
    engine: new MemoryEngine(),
    clock: systemClock,
    log: silentLog,
    onFatal: (e) => {
      throw e;
    },
  });

export async function newIdentity(installationId: string, lifetimes = DEFAULT_LIFETIMES): Promise<Trust> {
  const installation = { installationId, addresses: ['127.0.0.1:7443'] };
  const stored = await newTrust(installation, systemClock.now(), lifetimes);
  return new Trust(installation, stored, lifetimes, () => undefined);
}

/** A certificate for a host, as enrolment would give. */
export async function hostTls(
  trust: { readonly authority: Authority; readonly caPem: string },
  hostId: HostId,
  nowMs = systemClock.now(),
) {
  const { csrPem, keyPem } = await newRequest();
  const certificatePem = await trust.authority.signHost('control', await checkRequest(csrPem), hostId, nowMs);
  return { caPem: trust.caPem, certificatePem, keyPem };
}

export const newHostId = (): HostId => newId('host', systemClock.now());

export const enrolledHost = (o: Partial<Host> & Pick<Host, 'id' | 'name' | 'address'>): Host => ({
  labels: {},
  maintenance: false,
  certificateFingerprint: '00',
  createdAtMs: systemClock.now(),
  generation: 1,
  ...o,
});

/** An agent that listens, and its host in the inventory. */
export async function addHost(state: State, trust: Trust, name: string): Promise<FakeAgent> {
  const id = newHostId();
  const agent = new FakeAgent(id, await hostTls(trust, id));
  await agent.start();
  await state.update((tx) => tx.hosts.put(enrolledHost({ id, name, address: agent.address })));
  return agent;
}
