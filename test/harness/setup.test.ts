import { expect, it, vi } from 'vitest';

const listeners = () => process.listenerCount('unhandledRejection');

it('many test files that share a process listen once', async () => {
  const before = listeners();
  for (let file = 0; file < 12; file++) {
    vi.resetModules();
    await import('./setup.ts');
  }
  expect(listeners()).toBe(before);
});
