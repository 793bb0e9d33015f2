import { expect, it } from 'vitest';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { Asked } from './asked.ts';

const MINUTE_MS = 60_000;

it('lets a host be asked again after two minutes, then after four, and never less often than each hour or so', async () => {
  const clock = new SimClock();
  const asked = new Asked(clock);
  expect(asked.due('pool/h1')).toBe(true);
  for (const minutes of [2, 4, 8, 16, 32, 64, 64]) {
    asked.note('pool/h1');
    await clock.advance(minutes * MINUTE_MS);
    expect(asked.due('pool/h1')).toBe(false);
    expect(asked.due('pool/h2')).toBe(true);
    await clock.advance(1);
    expect(asked.due('pool/h1')).toBe(true);
  }
});

it('forgets what nobody was asked for lately, and nothing else', async () => {
  const clock = new SimClock();
  const asked = new Asked(clock);
  for (let i = 0; i < 100; i++) asked.note(`pool-${i}/h1`);
  await clock.advance(3 * MINUTE_MS);
  asked.note('pool-1/h1');
  asked.tidy();
  expect(asked.size).toBe(100);
  await clock.advance(2 * MINUTE_MS);
  asked.tidy();
  expect([asked.size, asked.due('pool-1/h1')]).toEqual([1, false]);
});
