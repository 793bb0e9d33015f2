import { expect, it } from 'vitest';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { Pace } from './pace.ts';

it('lets each do it some times at once, and then one after the other', async () => {
  const clock = new SimClock();
  const pace = new Pace<string>(clock, 2, 1_000);
  expect([pace.take('a'), pace.take('a'), pace.take('a')]).toEqual([0, 0, 1_000]);
  expect(pace.take('b')).toBe(0);
  await clock.advance(400);
  expect(pace.take('a')).toBe(600);
  await clock.advance(600);
  expect([pace.take('a'), pace.take('a')]).toEqual([0, 1_000]);
  await clock.advance(60_000);
  expect([pace.take('a'), pace.take('a'), pace.take('a')]).toEqual([0, 0, 1_000]);
});

it('forgets those that may do all again, when there are many', async () => {
  const clock = new SimClock();
  const pace = new Pace<number>(clock, 1, 1_000);
  for (let i = 0; i < 10_000; i++) pace.take(i);
  await clock.advance(500);
  pace.take(-1);
  expect(pace.take(5)).toBe(500);
  await clock.advance(500);
  pace.take(-2);
  expect([pace.take(5), pace.take(-1)]).toEqual([0, 500]);
});
