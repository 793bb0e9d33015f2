import { expect, it } from 'vitest';
import { eventually, isLook, pauseMs } from './processes.ts';

it('knows a look from what is done once', async () => {
  const seen = [isLook()];
  await eventually('the second look', async () => seen.push(await Promise.resolve(isLook())) === 3);
  seen.push(isLook());
  expect(seen).toEqual([false, true, true, false]);
});

it('looks often in the beginning and when it costs nothing, and leaves the machine alone when it takes long', () => {
  expect(pauseMs(0, 60_000)).toBe(25);
  expect(pauseMs(20, 20)).toBeLessThan(100);
  expect(pauseMs(20, 10_000)).toBeGreaterThan(200);
  expect(pauseMs(500, 60_000)).toBe(700);
});
