/** Durations: what is read, what is refused, and how they are shown. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAge, formatDuration, parseDuration, unitDuration } from './duration.ts';

describe('durations', () => {
  it.each([
    ['5s', 5_000],
    ['2h', 7_200_000],
    ['500ms', 500],
    ['1h30m', 5_400_000],
    ['1.5 s', 1_500],
    ['2min', 120_000],
    ['0', 0],
  ])('reads %s as %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms));

  it.each(['', '5', '-5s', 's', '5 seconds', '5s!', '1e3s', '200000d'])('refuses %j', (text) => {
    expect(() => parseDuration(text)).toThrow(/duration|100 years/);
  });

  it.each([
    [1, '1 ms'],
    [410, '0.4 s'],
    [2_100, '2.1 s'],
    [41_000, '41 s'],
    [72_000, '1 m 12 s'],
    [240_000, '4 m'],
    [7_500_000, '2 h 5 m'],
    [100 * 3_600_000, '4 d 4 h'],
  ])('shows %d ms as %s', (ms, text) => expect(formatDuration(ms)).toBe(text));

  it('shows an age in one unit', () =>
    expect([3_000, 250_000, 31 * 86_400_000].map(formatAge)).toEqual(['3 s', '4 m', '31 d']));

  it('reads back what it writes for configuration', () => {
    fc.assert(fc.property(fc.nat(10 ** 9), (n) => parseDuration(unitDuration(n)) === n));
  });
});
