import { beforeEach, expect, it } from 'vitest';
import type { GuestSeen } from '@berth/shared/model/guest.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Certificate } from '@berth/shared/model/certificate.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { listAlarms } from '../app/alarms.ts';
import type { HostStatus } from '../hosts/hosts.ts';
import { enrolledHost, memoryState, newHostId, silentLog } from '../hosts/testing.ts';
import { facts } from '../../../test/harness/world-builder.ts';
import { aJob } from '../state/samples.ts';
import type { State } from '../state/state.ts';
import { VM_KINDS, type Look } from './kinds.ts';
import { AlarmWatcher } from './watcher.ts';

const GIB = 2 ** 30;
let state: State;
let clock: SimClock;
let status: HostStatus;
let watcher: AlarmWatcher;
let host: Host;

const fresh = () =>
  new AlarmWatcher({
    state,
    clock,
    log: silentLog,
    dataDir: '/data',
    hosts: {
      status: () => status,
      view: () => ({ reachable: status.state === 'up', complete: status.complete.has('domains') }),
      guest: () => undefined,
      vm: () => undefined,
    },
  });

beforeEach(async () => {
  state = await memoryState();
  clock = new SimClock();
  host = enrolledHost({ id: newHostId(), name: 'h1', address: 'h1:7444' });
  await state.update((tx) => tx.hosts.put(host));
  status = {
    hostId: host.id,
    state: 'up',
    reason: '',
    sinceMs: 0,
    lastSeenMs: 0,
    facts: undefined,
    statistics: undefined,
    bridges: [],
    foreign: [],
    imageDigests: new Set(),
    volumeIds: new Set(),
    complete: new Set(['domains']),
  };
  watcher = fresh();
});

const ROOMY = { totalBytes: 100 * GIB, freeBytes: 50 * GIB };
async function after(ms: number, space = ROOMY): Promise<string[]> {
  await clock.advance(ms);
  await watcher.look(space);
  return listAlarms(state.tables, { subjectKind: '', subject: '' }).map((a) => `${a.severity} ${a.kind} ${a.subject}`);
}
const told = async () => (await state.events({ limit: 100 })).map((e) => e.type).filter((t) => t.startsWith('alarm.'));

it('raises what lasts, and clears it when it is over, with an event for each', async () => {
  status = { ...status, complete: new Set() };
  expect(await after(0)).toEqual([]);
  expect(await after(6_000)).toEqual(['critical host-libvirt-away h1']);
  expect(await after(6_000)).toEqual(['critical host-libvirt-away h1']);
  status = { ...status, complete: new Set(['domains']) };
  expect(await after(2_000)).toHaveLength(1);
  expect(await after(6_000)).toEqual([]);
  expect(await told()).toEqual(['alarm.raised', 'alarm.cleared']);
});

it('says nothing of what passes by itself, and one alarm stands while it comes and goes', async () => {
  const away = { ...status, complete: new Set<string>() };
  const well = status;
  for (let n = 0; n < 5; n++) {
    status = away;
    await after(2_000);
    status = well;
    await after(2_000);
  }
  expect(await told()).toEqual([]);
  status = away;
  await after(0);
  await after(6_000);
  for (let n = 0; n < 5; n++) {
    status = well;
    await after(2_000);
    status = away;
    expect(await after(2_000)).toHaveLength(1);
  }
  expect(await told()).toEqual(['alarm.raised']);
});

it('keeps an alarm over a restart, and raises it no second time', async () => {
  status = { ...status, state: 'unreachable', reason: 'no route to it', complete: new Set() };
  await after(0);
  expect(await after(11_000)).toEqual(['critical host-unreachable h1']);
  watcher = fresh();
  status = { ...status, state: 'connecting' };
  await after(0);
  expect(await after(20_000)).toHaveLength(1);
  status = { ...status, state: 'unreachable' };
  await after(0);
  await after(20_000);
  expect(await told()).toEqual(['alarm.raised']);
});

it('warns of a certificate that was not renewed in time, of a host that is away too, until it is or has run out', async () => {
  const day = 86_400_000;
  const certificate: Certificate = {
    ...{ serial: '0a', purpose: 'control', hostId: host.id, subject: 'h1', issuerPin: '', state: 'active' },
    ...{ notBeforeMs: clock.now(), notAfterMs: clock.now() + 12 * day, revokedAtMs: undefined, why: undefined },
  };
  await state.update((tx) => tx.certificates.put(certificate));
  await after(0);
  await after(10 * day - 60_000);
  expect(await after(30_000)).toEqual([]);
  await after(40_000);
  expect(await after(130_000)).toEqual(['warning host-certificate-ending h1']);
  const words = () =>
    listAlarms(state.tables, { subjectKind: '', subject: '' }).map((a) => `${a.message}. ${a.advice}`);
  expect(words()[0]).toMatch(/^the control certificate of host h1 ends in 1 d, and was not renewed\. .*event list/);
  await state.update((tx) => tx.certificates.put({ ...certificate, state: 'replaced' }));
  await after(0);
  expect(await after(7_000)).toEqual([]);

  status = { ...status, state: 'unreachable' };
  await state.update((tx) => tx.certificates.put(certificate));
  await after(0);
  expect(await after(130_000)).toEqual(['critical host-unreachable h1', 'warning host-certificate-ending h1']);
  expect(words()[1]).toMatch(/cannot be renewed while it is unreachable\. .*berth host re-enroll h1$/);
  status = { ...status, state: 'certificate-fault' };
  await after(2 * day);
  expect(await after(7_000)).toEqual(['critical host-certificate-fault h1']);
  expect(words()[0]).toMatch(/berth host re-enroll h1$/);
});

it('forgets the alarms of what is gone', async () => {
  status = { ...status, state: 'certificate-fault', reason: 'its certificate has expired' };
  await after(0);
  expect(await after(6_000)).toEqual(['critical host-certificate-fault h1']);
  await state.update((tx) => tx.hosts.delete(host.id));
  await after(0);
  expect(await after(7_000)).toEqual([]);
});

it('tells of a stuck job at once, with what can be done', async () => {
  const job = aJob({ state: 'stuck' });
  await state.update((tx) => tx.jobs.put(job));
  expect(await after(0)).toEqual([`critical job-stuck ${job.id}`]);
  const [alarm] = listAlarms(state.tables, { subjectKind: 'job', subject: job.id });
  expect(alarm?.advice).toMatch(/berth job retry .* berth job accept/);
});

it('warns of a disk that gets full, again when it is critical, and until there is room enough', async () => {
  const full = (share: number) => ({ totalBytes: 100 * GIB, freeBytes: share * GIB });
  await after(0, full(9));
  expect(await after(6_000, full(9))).toEqual(['warning controller-disk-full controller']);
  expect(await after(2_000, full(2))).toEqual(['critical controller-disk-full controller']);
  expect(await after(7_000, full(11))).toEqual(['warning controller-disk-full controller']);
  await after(2_000, full(13));
  expect(await after(7_000, full(13))).toEqual([]);
});

it('tells of file systems that stay frozen, and worse of those that their host can not thaw', () => {
  const look = VM_KINDS.find((k) => k.kind === 'vm-frozen')!.look;
  const vm = { name: 'web', phase: 'ready' } as Vm;
  const at = (frozenForMs: number, thawInMs: number) => {
    const nowMs = 1_700_000_000_000;
    const guest = () => ({ frozenAtMs: nowMs - frozenForMs, thawAtMs: nowMs + thawInMs }) as GuestSeen;
    const hosts = { vm: () => ({ power: 'running' }), guest } as never;
    return look(vm, { hosts, nowMs } as unknown as Look, false);
  };
  expect(at(10_000, 50_000)).toBeUndefined();
  expect(at(40_000, 20_000)).toMatchObject({ message: expect.stringContaining('vm web are frozen') });
  expect(at(40_000, -5_000)).toMatchObject({ advice: expect.stringContaining('berth vm thaw web') });
  expect(at(80_000, -20_000)).toMatchObject({
    severity: 'critical',
    advice: expect.stringContaining('berth vm reset web'),
  });
});

it('a host whose guests cannot have the CPU of the cluster raises an alarm, until it can', async () => {
  const cpu = { ...{ model: 'Westmere', vendor: '', features: [] }, all: ['lm', 'aes'], models: ['Westmere'] };
  await state.update((tx) =>
    tx.clusters.put({ name: 'default', generation: 1, cpu: { ...cpu, asked: 'auto', setAtMs: 0 } }),
  );
  const has = (all: readonly string[]) => facts({ cpu: { ...cpu, model: 'Nehalem', models: [], all } });
  status = { ...status, facts: has(['lm']) };
  await after(5_000);
  expect(await after(5_000)).toEqual(['warning host-cpu-below-cluster h1']);
  expect([...state.tables.alarms.values()][0]?.message).toMatch(
    /below the cluster's CPU \(Westmere\): its guests lack aes/,
  );
  status = { ...status, facts: has(['lm', 'aes', 'avx']) };
  await after(2_000);
  expect(await after(6_000)).toEqual([]);
  status = { ...status, facts: facts() }; // of an agent that is too old to tell
  await after(5_000);
  await after(5_000);
  expect([...state.tables.alarms.values()][0]?.message).toMatch(/h1 does not tell which CPU its guests can have/);
});
