import { expect, it } from 'vitest';
import { expectGolden } from '../../../test/harness/golden.ts';
import { jobShapes } from './engine/define.ts';
import { JOBS } from './registry.ts';

it('the kinds, versions and steps of all jobs are those that open jobs in databases have', () => {
  expectGolden(import.meta.url, 'shapes.txt', jobShapes(JOBS));
});

it('every kind and version is there once', () => {
  const names = JOBS.map((d) => `${d.kind} v${d.version}`);
  expect(new Set(names).size).toBe(names.length);
});
