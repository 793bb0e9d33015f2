import { expect, it } from 'vitest';
import { nearest } from './nearest.ts';

it('gives what is spelt nearly so, the nearest first, and nothing that is far', () => {
  const known = ['memory', 'machine', 'cdroms', 'disks', 'rhel7', 'rhel8'];
  expect(nearest('memroy', known)).toEqual(['memory']);
  expect(nearest('Disk', known)).toEqual(['disks']);
  expect(nearest('rhel77', known)[0]).toBe('rhel7');
  expect(nearest('zebra', known)).toEqual([]);
});
