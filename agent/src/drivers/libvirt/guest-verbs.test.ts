/** What only a libvirt that misbehaves shows: a QEMU that never answers, a guest that sleeps, two who resume at once. */
import { beforeEach, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { deadlinePassed, fromRemote } from './errors.ts';
import { GuestVerbs, type GuestVerbOptions } from './guest-verbs.ts';

const UUID = '11111111-2222-4333-8444-555555555555';
const [RUNNING, PAUSED, ASLEEP] = [1, 3, 7];
const INVALID = { code: 55, domain: 10, message: 'Requested operation is not valid', level: 2, int1: 0, int2: 0 };

let state: number;
let asked: string[];
/** What libvirt does with the next request. */
let answer: () => void;
const read = { find: () => ({ name: 'web' }), refresh: async () => undefined, refreshSoon: () => undefined };
const verbs = new GuestVerbs({
  quick: { call: async () => ({ state, reason: 1 }) },
  guest: { call: async (p: { name: string }) => void (asked.push(p.name), answer()) },
  cache: read,
  log: createLog('test', 'silent'),
} as unknown as GuestVerbOptions);

beforeEach(() => {
  [state, asked, answer] = [PAUSED, [], () => undefined];
});
const refuse = () => {
  const none = { dom: undefined, str1: undefined, str2: undefined, str3: undefined, net: undefined };
  throw fromRemote({ ...INVALID, ...none }, 'resume domain web');
};

it.each(['reboot', 'reset', 'suspend', 'resume'] as const)(
  '%s of a QEMU that is frozen ends with words',
  async (verb) => {
    answer = () => {
      throw deadlinePassed('x', 1);
    };
    await expect(verbs[verb](UUID)).rejects.toMatchObject({
      reason: 'DEADLINE_EXCEEDED',
      message: expect.stringMatching(/^the QEMU of vm web has not answered for 20 s: it may be frozen/),
    });
  },
);

it('a guest that sleeps is woken, one that is suspended is resumed', async () => {
  await verbs.resume(UUID);
  state = ASLEEP;
  await verbs.resume(UUID);
  expect(asked).toEqual(['DOMAIN_RESUME', 'DOMAIN_PM_WAKEUP']);
});

it('who comes second to a resume finds it done; one that is not is refused', async () => {
  answer = () => {
    state = RUNNING;
    refuse();
  };
  await verbs.resume(UUID);
  answer = () => {
    state = PAUSED;
    refuse();
  };
  await expect(verbs.resume(UUID)).rejects.toMatchObject({ reason: 'BAD_STATE' });
});
