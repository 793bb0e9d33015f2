import { beforeEach, describe, expect, it } from 'vitest';
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostFacts } from '@berth/shared/model/host.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Tuning } from '@berth/shared/model/tuning.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import type { OperationView } from '../hosts/agent-client.ts';
import { enrolledHost, memoryState, newHostId, silentLog } from '../hosts/testing.ts';
import { DEFAULT_POLICY } from '../scheduler/world.ts';
import { aVm } from '../state/samples.ts';
import type { State } from '../state/state.ts';
import { TuningKeeper } from '../reconcilers/tuning.ts';
import { TuningApp } from './tuning.ts';

const GIB = 2 ** 30;
const DONE: OperationView = {
  ...{ id: 'x', state: 'succeeded', error: undefined, doneBytes: 0, totalBytes: 0 },
  ...{ needsSource: false, image: undefined },
};
const clock = new SimClock(1_700_000_000_000);
let state: State;
let hostId: HostId;
let has: Record<string, string>;
let asked: Tuning[];
/** What the host does with what it is asked: nothing, and its own error. */
let refuse: ((wanted: Tuning) => Error | Promise<void> | undefined) | undefined;
let capabilities: string[];

const agent = {
  machine: {
    tuning: async () => ({
      settings: Object.entries(has).map(([name, value]) => ({ name, value, choices: [], recommended: '', note: '' })),
    }),
  },
  async ensureTuning(_: string, wanted: Tuning) {
    asked.push(wanted);
    const refusal = refuse?.(wanted);
    if (refusal instanceof Error) throw refusal;
    await refusal;
    has = { ...has, ...wanted };
    return DONE;
  },
  acknowledgeOperations: async () => undefined,
} as never;
const facts = () =>
  ({
    domainType: 'kvm',
    memoryBytes: 16 * GIB,
    capabilities,
    agentVersion: '',
    largePages: [],
  }) as unknown as HostFacts;
const hosts = { status: () => ({ facts: facts(), foreign: [] }), agent: () => agent } as never;
const app = () => new TuningApp({ state, hosts, clock, log: silentLog, policy: DEFAULT_POLICY });
const tune = (set: Tuning, forget: string[] = []) => app().tune('h1', { set, forget }, 'ann');
const intent = () => state.tables.hosts.get(hostId)?.tuning;
const events = async () => (await state.events({ limit: 100 })).map((e) => `${e.type}: ${e.message}`);

beforeEach(async () => {
  state = await memoryState();
  hostId = newHostId();
  [has, asked, refuse] = [{ ksm: 'off', swappiness: '60', 'hugepages/2MiB': '0' }, [], undefined];
  capabilities = ['host.tuning'];
  await state.update((tx) => tx.hosts.put(enrolledHost({ id: hostId, name: 'h1', address: 'h1:7444' })));
});

describe('tuning a host', () => {
  it('keeps what is wanted and sets it on the host; what was not named stays the host’s', async () => {
    const { items } = await tune({ ksm: 'on' });
    expect(items.map((s) => [s.name, s.value, s.wanted])).toEqual([
      ['ksm', 'on', 'on'],
      ['swappiness', '60', undefined],
      ['hugepages/2MiB', '0', undefined],
    ]);
    await tune({ swappiness: '10' });
    expect(intent()).toEqual({ ksm: 'on', swappiness: '10' });
    expect(asked).toEqual([{ ksm: 'on' }, { swappiness: '10' }]);
    expect(await events()).toEqual([
      'host.tuned: ann tuned host h1: ksm on',
      'host.tuned: ann tuned host h1: swappiness 10',
    ]);
  });

  it('leaves to the host what is forgotten, as it is', async () => {
    await tune({ ksm: 'on', swappiness: '10' });
    const { items } = await tune({}, ['ksm']);
    expect(intent()).toEqual({ swappiness: '10' });
    expect(items.find((s) => s.name === 'ksm')).toMatchObject({ value: 'on', wanted: undefined });
    expect(asked).toHaveLength(1);
  });

  it('shows drift, and what is wanted of a disk that is gone', async () => {
    has['io-scheduler/sda'] = 'none';
    await tune({ ksm: 'on', 'io-scheduler/sda': 'none' });
    delete has['io-scheduler/sda'];
    has['ksm'] = 'off';
    const { items } = await app().show('h1');
    expect(items.find((s) => s.name === 'ksm')).toMatchObject({ value: 'off', wanted: 'on' });
    expect(items.at(-1)).toMatchObject({
      name: 'io-scheduler/sda',
      value: '',
      wanted: 'none',
      note: 'not there any more',
    });
  });
});

describe('what a host refuses', () => {
  it('is taken back, and the host’s own words are told', async () => {
    await tune({ swappiness: '10' });
    refuse = () => badState('this host does not let its agent set ksm: read-only there');
    await expect(tune({ ksm: 'on' })).rejects.toThrow(/read-only there/);
    expect(intent()).toEqual({ swappiness: '10' });
    expect(await events()).toHaveLength(1);
  });

  it('is taken back also where nothing was wanted before', async () => {
    refuse = () => badState('no');
    await expect(tune({ ksm: 'on' })).rejects.toThrow('no');
    expect(intent()).toBeUndefined();
  });

  it.each([
    [{}, [], /what shall be set/],
    [{ ksm: 'maybe' }, [], /one of on, off/],
    [{ ksm: 'on' }, ['ksm'], /can't be both/],
    [{}, ['fans'], /is no setting/],
  ])('and what makes no sense (%j, %j) reaches no host', async (set, forget, words) => {
    await expect(tune(set as unknown as Tuning, forget)).rejects.toThrow(words);
    expect([asked, intent()]).toEqual([[], undefined]);
  });

  it('because its agent is too old is told', async () => {
    capabilities = [];
    await expect(tune({ ksm: 'on' })).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
    await expect(app().show('h1')).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
  });
});

describe('a host that goes away while it is tuned', () => {
  it('gets it when it is back, and the caller is told so', async () => {
    refuse = () => new ClusterError('HOST_UNREACHABLE', 'host h1: the connection broke');
    await expect(tune({ ksm: 'on' })).rejects.toMatchObject({
      reason: 'HOST_UNREACHABLE',
      message: expect.stringContaining('is set when it is back') as string,
    });
    expect(intent()).toEqual({ ksm: 'on' });
    refuse = undefined;
    await keeper().see(hostId, agent);
    expect(has['ksm']).toBe('on');
  });

  it('or takes long is answered before it has ended', async () => {
    let end!: () => void;
    refuse = () => new Promise((resolve) => (end = resolve));
    const answer = tune({ 'hugepages/2MiB': '1024' });
    await expect.poll(() => asked).toHaveLength(1);
    await clock.advance(15_000);
    expect(await answer).toMatchObject({ pending: true });
    end();
    await expect.poll(events).toHaveLength(1);
    expect(intent()).toEqual({ 'hugepages/2MiB': '1024' });
  });
});

const vm = aVm({});
const promise = (memoryBytes: number, powered = true) =>
  state.update((tx) => {
    tx.vms.put({ ...vm, hostId });
    tx.claims.put({ vmId: vm.id, hostId, vcpus: 1, memoryBytes, diskBytes: 0, powered });
  });

describe('large pages', () => {
  it('may not take memory that VMs which run were promised', async () => {
    await promise(12 * GIB);
    await expect(tune({ 'hugepages/2MiB': '2048' })).rejects.toMatchObject({
      reason: 'NO_CAPACITY',
      message: expect.stringMatching(
        /host h1 has 11 GiB for VMs, but 12 GiB are promised: stop VMs there first/,
      ) as string,
    });
    expect([asked, intent()]).toEqual([[], undefined]);
    await tune({ 'hugepages/2MiB': '512' });
    await promise(12 * GIB, false);
    await tune({ 'hugepages/2MiB': '2048' });
    expect(intent()).toEqual({ 'hugepages/2MiB': '2048' });
  });

  it('may always become fewer, however much is promised', async () => {
    await tune({ 'hugepages/2MiB': '2048' });
    await promise(15 * GIB);
    await tune({ 'hugepages/2MiB': '1024' });
    await tune({ ksm: 'on' });
    expect(intent()).toEqual({ ksm: 'on', 'hugepages/2MiB': '1024' });
  });
});

const keeper = () => new TuningKeeper({ state, clock, log: silentLog });

describe('a host that comes up', () => {
  const want = (tuning: Tuning) => state.update((tx) => tx.hosts.put({ ...tx.hosts.get(hostId)!, tuning }));

  it('is set again to what it shall be, which is told; nothing is asked of one that is as wanted', async () => {
    await keeper().see(hostId, agent);
    await want({ ksm: 'on', swappiness: '60' });
    await keeper().see(hostId, agent);
    expect(asked).toEqual([{ ksm: 'on' }]);
    expect(await events()).toEqual(['host.tuned: host h1 was set again: ksm on']);
    await keeper().see(hostId, agent);
    expect(asked).toHaveLength(1);
  });

  it('and refuses one setting gets the others, and people are told once', async () => {
    await want({ 'io-scheduler/gone': 'none', ksm: 'on' });
    refuse = (wanted) => ('ksm' in wanted ? undefined : badState('this host has no setting io-scheduler/gone'));
    const k = keeper();
    await k.see(hostId, agent);
    await k.see(hostId, agent);
    expect(has['ksm']).toBe('on');
    expect(await events()).toEqual([
      'host.tuning-failed: host h1 could not be tuned as wanted: host h1 has no setting io-scheduler/gone',
    ]);
  });
});
