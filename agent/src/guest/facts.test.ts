/** What a guest may say, and what is made of it: bounded in length and count, on one line, and never a reason to fall over. */
import { expect, it } from 'vitest';
import fc from 'fast-check';
import { GUEST_LIMITS, type GuestFacts } from '@berth/shared/model/guest.ts';
import type { GuestSaid } from '../drivers/guest-agents.ts';
import { simLies } from '../drivers/sim/sim-guest-words.ts';
import { roundUse, tame } from './facts.ts';

const textsOf = (f: GuestFacts): string[] => [
  ...[f.hostname, f.os, f.kernel, f.timeZone],
  ...f.interfaces.flatMap((i) => [i.name, i.mac, ...i.addresses]),
  ...f.fileSystems.flatMap((s) => [s.mountPoint, s.type]),
  ...f.users.map((u) => u.name),
];
const HARMFUL = /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/;

function expectTame(f: GuestFacts): void {
  for (const text of textsOf(f)) expect(text).not.toMatch(HARMFUL);
  for (const text of textsOf(f)) expect(text.length).toBeLessThanOrEqual(GUEST_LIMITS.pathChars);
  expect(f.interfaces.length).toBeLessThanOrEqual(GUEST_LIMITS.interfaces);
  expect(f.fileSystems.length).toBeLessThanOrEqual(GUEST_LIMITS.fileSystems);
  expect(f.users.length).toBeLessThanOrEqual(GUEST_LIMITS.users);
  for (const s of f.fileSystems) expect(s.usedBytes).toBeLessThanOrEqual(s.totalBytes);
  expect(JSON.stringify(f).length).toBeLessThan(100_000);
}

it('keeps what a sane guest says', () => {
  const said: GuestSaid = {
    hostname: 'web',
    os: 'Debian GNU/Linux 12 (bookworm)',
    utcOffsetSeconds: -12_600,
    interfaces: [
      {
        name: 'eth0',
        mac: '52:54:00:AA:00:01',
        addresses: [
          { address: 'FE80::1', prefix: 64 },
          { address: '10.0.0.5', prefix: 24 },
        ],
      },
    ],
    fileSystems: [{ mountPoint: '/', type: 'ext4', totalBytes: 1_000n, usedBytes: 250n }],
    users: [{ name: 'ann', loginAtMs: 1_700_000_000_000 }],
  };
  expect(tame(said)).toEqual({
    ...{ hostname: 'web', os: 'Debian GNU/Linux 12 (bookworm)', kernel: '', timeZone: '', utcOffsetSeconds: -12_600 },
    interfaces: [{ name: 'eth0', mac: '52:54:00:aa:00:01', addresses: ['fe80::1/64', '10.0.0.5/24'] }],
    fileSystems: [{ mountPoint: '/', type: 'ext4', totalBytes: 1_000, usedBytes: 250 }],
    users: [{ name: 'ann', loginAtMs: 1_700_000_000_000 }],
  });
});

it('cuts down a guest that lies, and drops addresses and numbers that are none', () => {
  const f = tame(simLies());
  expectTame(f);
  expect(f.hostname.startsWith('evil [2Jhostxxx')).toBe(true);
  expect(f.interfaces.every((i) => i.mac === '' && i.addresses.length === 0)).toBe(true);
  expect(f.fileSystems.every((s) => s.totalBytes === 0 && s.usedBytes === 0)).toBe(true);
  expect([f.utcOffsetSeconds, f.users[0]?.loginAtMs]).toEqual([0, 0]);
});

it('bears whatever is said', () => {
  const text = fc.string({ unit: 'binary', maxLength: 400 });
  const said = fc.record({
    ...{ hostname: text, os: text, kernel: text, timeZone: text, utcOffsetSeconds: fc.double() },
    interfaces: fc.array(
      fc.record({ name: text, mac: text, addresses: fc.array(fc.record({ address: text, prefix: fc.double() })) }),
    ),
    fileSystems: fc.array(fc.record({ mountPoint: text, type: text, totalBytes: fc.bigInt(), usedBytes: fc.bigInt() })),
    users: fc.array(fc.record({ name: text, loginAtMs: fc.double() })),
  });
  fc.assert(
    fc.property(said, (s) => expectTame(tame(s))),
    { numRuns: 100 },
  );
});

it('tells a use that changes a little as the same', () => {
  const of = (usedBytes: number): GuestFacts => ({
    ...tame({}),
    fileSystems: [{ mountPoint: '/', type: 'ext4', totalBytes: 2 ** 40, usedBytes }],
  });
  expect(roundUse(of(2 ** 39 + 4_096))).toEqual(roundUse(of(2 ** 39)));
  expect(roundUse(of(2 ** 39 + 2 ** 34))).not.toEqual(roundUse(of(2 ** 39)));
});
