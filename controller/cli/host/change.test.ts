import { expect, it } from 'vitest';
import { stillRunning } from './change.ts';

it('a drain says which VMs still run there, and what to do', () => {
  expect(stillRunning('h1', ['web'])).toBe(
    '1 VM still runs on h1: web. Stop it before you service the host: VMs are not moved yet.',
  );
  expect(stillRunning('h1', ['db', 'web'])).toMatch(/^2 VMs still run on h1: db, web\. Stop them before /);
  expect(
    stillRunning(
      'h1',
      Array.from({ length: 12 }, (_, i) => `w${i}`),
    ),
  ).toContain('w9, …. Stop');
});
