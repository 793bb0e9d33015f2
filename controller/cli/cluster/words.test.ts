import { expect, it } from 'vitest';
import { hostLines } from './words.ts';

const host = (name: string, model: string, ...lacking: string[]) => ({ host: name, model, lacking });

it('hosts of one kind are told in one line, and those that lack something apart', () => {
  const many = ['a', 'b', 'c', 'd', 'e', 'f'].map((n) => host(n, 'EPYC'));
  expect(hostLines([...many, host('old', 'Nehalem', 'aes'), host('mute', '')])).toEqual([
    ['on a, b, c, d and 2 more', 'EPYC'],
    ['on old', 'Nehalem: lacks aes: VMs of the cluster are not placed there'],
    ['on mute', 'not known'],
  ]);
});
