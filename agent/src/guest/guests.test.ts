/** When guests are read, and what becomes of those that hang, come and go; in virtual time. */
import { beforeEach, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import type { GuestSeen } from '@berth/shared/model/guest.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { metadataXml } from '../domain/metadata.ts';
import { noAgent, silentAgent, type GuestEvent, type GuestSaid } from '../drivers/guest-agents.ts';
import type { DomainSeen, HypervisorEvent } from '../drivers/hypervisor.ts';
import { Guests } from './guests.ts';

const MINUTE_MS = 60_000;
let clock: SimClock;
let guests: Guests;
let domain: (e: HypervisorEvent) => void;
let event: (e: GuestEvent) => void;
/** How each guest answers; absent: no agent. */
let answers: Map<string, () => Promise<GuestSaid>>;
let asked: string[];
let published: (readonly [string, GuestSeen | undefined])[];
let frozen: Set<string>;
let thawed: string[];

const uuidOf = (n: number): string => `${n.toString(16).padStart(4, '0')}0000-0000-4000-8000-000000000000`;
const seen = (uuid: string, power: DomainSeen['power'] = 'running', reason: DomainSeen['reason'] = 'booted') =>
  ({
    type: 'domain',
    uuid,
    seen: {
      ...{ uuid, name: uuid.slice(0, 4), power, reason, persistent: true, memoryBytes: 1, vcpus: 1 },
      metadataXml: metadataXml({ vmId: 'vm-1', specHash: 'x', generation: 1, definitionHash: 'x', fixed: [] }),
    },
  }) satisfies HypervisorEvent;
const last = (uuid: string) => published.findLast(([u]) => u === uuid)?.[1];

beforeEach(() => {
  clock = new SimClock();
  [answers, asked, published, frozen, thawed] = [new Map(), [], [], new Set(), []];
  const read = async (uuid: string): Promise<GuestSaid> => {
    asked.push(uuid);
    const answer = answers.get(uuid);
    if (answer === undefined) throw noAgent('x');
    return answer();
  };
  guests = new Guests({
    hypervisor: {
      list: async () => [],
      subscribe: (l) => ((domain = l), () => undefined),
      guests: { read, subscribe: (l: typeof event) => ((event = l), () => undefined) } as never,
    },
    freezes: {
      find: (uuid) => (frozen.has(uuid) ? { uuid, vmId: 'vm-1', name: 'x', atMs: 1, thawAtMs: 2 } : undefined),
      uuids: () => [...frozen],
      forget: async (uuid) => void thawed.push(uuid),
    },
    clock,
    log: createLog('test', 'silent'),
    publish: (uuid, guest) => void published.push([uuid, guest]),
  });
  guests.start();
});

it('reads a guest soon after it is seen, then about every 45 s, and says only what has changed', async () => {
  const [uuid, said] = [uuidOf(1), { hostname: 'web' }];
  answers.set(uuid, async () => said);
  domain(seen(uuid));
  await clock.advance(2_000);
  expect(last(uuid)).toMatchObject({ agent: 'connected', hostname: 'web' });
  await clock.advance(10 * MINUTE_MS);
  expect(asked.length).toBeGreaterThan(10);
  expect(asked.length).toBeLessThan(20);
});

it('asks seldom where no agent answers, and at once when one appears', async () => {
  const uuid = uuidOf(1);
  domain(seen(uuid));
  await clock.advance(60 * MINUTE_MS);
  expect(asked.length).toBeLessThan(14);
  expect(last(uuid)?.agent).toBe('absent');
  answers.set(uuid, async () => ({ hostname: 'web' }));
  event({ type: 'agent', uuid, connected: true });
  await clock.advance(2_000);
  expect(last(uuid)).toMatchObject({ agent: 'connected', hostname: 'web' });
  event({ type: 'agent', uuid, connected: false });
  expect(last(uuid)).toMatchObject({ agent: 'absent', hostname: '' });
});

it('guests that hang hold up only themselves: at most three are waited for, and they come seldom', async () => {
  const hanging = Array.from({ length: 20 }, (_, n) => uuidOf(n));
  const well = uuidOf(99);
  let [now, most] = [0, 0];
  for (const uuid of hanging)
    answers.set(uuid, async () => {
      most = Math.max(most, ++now);
      await clock.sleep(5_000);
      now--;
      throw silentAgent('x');
    });
  for (const uuid of hanging) domain(seen(uuid));
  answers.set(well, async () => ({ hostname: 'well' }));
  domain(seen(well));
  await clock.advance(60 * MINUTE_MS);
  expect(most).toBe(3);
  expect(last(uuidOf(0))?.agent).toBe('silent');
  const times = (uuid: string) => asked.filter((u) => u === uuid).length;
  expect(times(uuidOf(0))).toBeLessThan(14);
  expect(times(well)).toBeGreaterThan(50);
});

it('one call at a time, whoever asks', async () => {
  const uuid = uuidOf(1);
  domain(seen(uuid));
  let [now, most] = [0, 0];
  const work = () =>
    guests.alone(uuid, async () => {
      most = Math.max(most, ++now);
      await clock.sleep(100);
      now--;
    });
  const all = Promise.all([work(), work(), work()]);
  await clock.advance(1_000);
  await all;
  expect(most).toBe(1);
});

it('forgets a guest that is off, and what of it was frozen, unless it was saved', async () => {
  const uuid = uuidOf(1);
  domain(seen(uuid));
  domain(seen(uuid, 'stopped', 'saved'));
  expect([last(uuid), thawed]).toEqual([undefined, []]);
  domain(seen(uuid));
  domain(seen(uuid, 'stopped', 'shutdown'));
  expect([last(uuid), thawed]).toEqual([undefined, [uuid]]);
});

it('tells each reset with a time of its own, and does not ask a guest that is frozen or paused', async () => {
  const uuid = uuidOf(1);
  answers.set(uuid, async () => ({}));
  domain(seen(uuid));
  event({ type: 'reset', uuid });
  const first = last(uuid)!.lastResetAtMs;
  event({ type: 'reset', uuid });
  expect(last(uuid)!.lastResetAtMs).toBeGreaterThan(first);
  frozen.add(uuid);
  await clock.advance(5 * MINUTE_MS);
  frozen.clear();
  domain(seen(uuid, 'paused'));
  await clock.advance(5 * MINUTE_MS);
  expect(asked).toEqual([]);
});

it('does not wake for guests that do not run, and reads one soon after it goes on', async () => {
  const uuid = uuidOf(1);
  answers.set(uuid, async () => ({ hostname: 'web' }));
  domain(seen(uuid, 'paused'));
  await clock.settle();
  expect(await clock.step(clock.now() + 60 * MINUTE_MS)).toBe(false);
  domain(seen(uuid, 'running'));
  await clock.advance(2_000);
  expect(last(uuid)).toMatchObject({ agent: 'connected', hostname: 'web' });
  domain(seen(uuid, 'paused'));
  await clock.advance(2 * MINUTE_MS);
  expect(await clock.step(clock.now() + 60 * MINUTE_MS)).toBe(false);
});

it('leaves domains alone that are not ours', async () => {
  const foreign = seen(uuidOf(1));
  domain({ ...foreign, seen: { ...foreign.seen, metadataXml: undefined } });
  await clock.advance(MINUTE_MS);
  expect([asked, published]).toEqual([[], []]);
});
