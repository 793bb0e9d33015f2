import { beforeAll, expect, it } from 'vitest';
import { makeCa, type TestCa } from '@berth/test/harness/pki.ts';
import { unfit } from './unfit.ts';

const DAY_MS = 86_400_000;
const NOW = Date.parse('2026-03-01T00:00:00Z');
let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa();
});
const endpoint = async (dates: { notBefore: Date; notAfter: Date }) => {
  const { certPem, keyPem } = await ca.issue({ uri: 'urn:berth:client:login-1', ...dates });
  return {
    ...{ controller: 'c:7443', ca: ca.caPem },
    client: { certificate: certPem, key: keyPem, renewsAtMs: undefined },
  };
};
const days = (from: number, to: number) => ({
  notBefore: new Date(NOW + from * DAY_MS),
  notAfter: new Date(NOW + to * DAY_MS),
});

it.each([
  [days(-10, -3), /^your client certificate ran out 3 d ago: log in again \(berth login\)$/],
  [days(2, 3), /valid in 2 d only: if the clock of this machine is right.*log in again/],
])('a client certificate of other times is told in words', async (dates, words) => {
  expect(unfit(await endpoint(dates), NOW)?.message).toMatch(words);
});

it('a good one, and none, give nothing to say', async () => {
  expect(unfit(await endpoint(days(-1, 1)), NOW)).toBeUndefined();
  expect(unfit({ controller: 'c:7443', ca: ca.caPem, token: 't' }, NOW)).toBeUndefined();
});
