import { expect, it } from 'vitest';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { DomainRecord } from './decode.ts';
import { fairly } from './misreports.ts';

const has = (hostId: string, n: number) => ({
  hostId: hostId as HostId,
  domains: Array.from({ length: n }, (_, i) => ({ name: `${hostId}-${i}` }) as DomainRecord),
});
const counts = (most: number) =>
  Object.fromEntries(
    ['liar', 'h1', 'h2', 'h3'].map((id) => [
      id,
      fairly([has('liar', 4_000), has('h1', 2), has('h2', 0), has('h3', 30)], most).filter((s) => s.hostId === id)
        .length,
    ]),
  );

it('leaves to each host what it has, as far as that is its share, and the rest to those that have more', () => {
  expect(counts(100)).toEqual({ liar: 68, h1: 2, h2: 0, h3: 30 });
  expect(counts(20)).toEqual({ liar: 9, h1: 2, h2: 0, h3: 9 });
  expect(counts(Number.MAX_SAFE_INTEGER)).toEqual({ liar: 4_000, h1: 2, h2: 0, h3: 30 });
});
