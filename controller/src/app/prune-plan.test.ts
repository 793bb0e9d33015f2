import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { planPrune, type CopyFacts, type PrunePolicy } from './prune-plan.ts';

const copy: fc.Arbitrary<CopyFacts> = fc.record({
  digest: fc.constantFrom('a', 'b', 'c'),
  hostId: fc.constantFrom('h1', 'h2', 'h3', 'h4', 'h5').map((h) => h as HostId),
  imageIds: fc.constant(['i'] as unknown as ImageId[]),
  fileBytes: fc.nat(100),
  needed: fc.constantFrom(undefined, undefined, undefined, 'used' as const, 'busy' as const),
  unusedMs: fc.nat(20),
  up: fc.boolean(),
  short: fc.boolean(),
});
const world = fc.uniqueArray(copy, { selector: (c) => `${c.digest}/${c.hostId}`, maxLength: 15 });
const policies: fc.Arbitrary<PrunePolicy> = fc
  .tuple(fc.constantFrom(0, 5, 10, Infinity), fc.constantFrom(0, 3), fc.integer({ min: 0, max: 3 }))
  .map(([unusedMs, shortUnusedMs, n]) => ({ unusedMs, shortUnusedMs, keep: (d) => (d === 'a' ? n : 1) }));

describe('whatever copies there are', () => {
  it('none goes that is needed, busy, away or young, and never the last ones that can be reached', () => {
    fc.assert(
      fc.property(world, policies, (copies, policy) => {
        const judged = planPrune(copies, policy);
        expect(judged).toHaveLength(copies.length);
        const gone = judged.filter((c) => c.verdict === 'remove');
        for (const c of gone) {
          expect([c.needed, c.up]).toEqual([undefined, true]);
          expect(c.unusedMs).toBeGreaterThanOrEqual(
            c.short ? Math.min(policy.shortUnusedMs, policy.unusedMs) : policy.unusedMs,
          );
        }
        for (const digest of new Set(copies.map((c) => c.digest))) {
          const reachable = copies.filter((c) => c.digest === digest && c.up).length;
          const left = reachable - gone.filter((c) => c.digest === digest).length;
          expect(left).toBeGreaterThanOrEqual(Math.min(reachable, Math.max(1, policy.keep(digest))));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('the same plan again removes nothing more', () => {
    fc.assert(
      fc.property(world, policies, (copies, policy) => {
        const left = planPrune(copies, policy).filter((c) => c.verdict !== 'remove');
        expect(planPrune(left, policy).filter((c) => c.verdict === 'remove')).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });
});
