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
