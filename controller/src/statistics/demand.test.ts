/** Who looks makes hosts tell more often, for as long as somebody does and a little longer, and no host that nobody looks at. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { HostId } from '@berth/shared/model/ids.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { Demand } from './demand.ts';

const [A, B] = ['host-a', 'host-b'] as [HostId, HostId];

it('is for the host that somebody looks at, or for all, and ends a while after the last question', async () => {
  const clock = new SimClock();
  const demand = new Demand(clock, 10_000);
  const wanted = () => [demand.intervalMs(A), demand.intervalMs(B)];
  expect(wanted()).toEqual([30_000, 30_000]);
  demand.look(A);
  expect(wanted()).toEqual([10_000, 30_000]);
  await clock.advance(29_999);
  expect(wanted()).toEqual([10_000, 30_000]);
  demand.look();
  await clock.advance(1);
  expect(wanted()).toEqual([10_000, 10_000]);
  await clock.advance(29_999);
  expect(wanted()).toEqual([30_000, 30_000]);
});

it('holds without a break for whoever asks again within the grace, whatever others ask', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 29_999 }), fc.constantFrom(A, B, undefined))),
      async (asks) => {
        const clock = new SimClock();
        const demand = new Demand(clock, 10_000);
        demand.look(A);
        for (const [ms, other] of asks) {
          await clock.advance(ms);
          expect(demand.intervalMs(A)).toBe(10_000);
          demand.look(A);
          demand.look(other);
        }
      },
    ),
    { numRuns: 50 },
  );
});
