import { expect, it, vi } from 'vitest';
import { faultIn } from './setup.ts';

const listeners = () => process.listenerCount('unhandledRejection') + process.listenerCount('warning');

it('many test files that share a process listen once', async () => {
  const before = listeners();
  for (let file = 0; file < 12; file++) {
    vi.resetModules();
    await import('./setup.ts');
  }
  expect(listeners()).toBe(before);
});

it('heeds the warnings that tell of a fault, and no others', () => {
  expect(faultIn(Object.assign(new Error('x'), { name: 'MaxListenersExceededWarning' }))).toBeDefined();
  expect(faultIn(Object.assign(new Error('x'), { name: 'DeprecationWarning', code: 'DEP0123' }))).toBeDefined();
  expect(faultIn(Object.assign(new Error('x'), { name: 'ExperimentalWarning' }))).toBeUndefined();
});

it('waits longer than a second, unless told otherwise', async () => {
  const [end, waits] = [performance.now() + 1_500, () => performance.now() > end];
  await expect(vi.waitUntil(waits, { timeout: 50 })).rejects.toThrow();
  await expect(vi.waitFor(() => expect(waits()).toBe(true), 50)).rejects.toThrow();
  await Promise.all([vi.waitUntil(waits), vi.waitFor(() => expect(waits()).toBe(true)), expect.poll(waits).toBe(true)]);
});
