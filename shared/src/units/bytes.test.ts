/** Sizes: what is read, what is refused, and how they are shown. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatBytes, formatFileBytes, parseBytes, unitBytes } from './bytes.ts';

describe('sizes', () => {
  it.each([
    ['20GiB', 20 * 2 ** 30],
    ['512MiB', 512 * 2 ** 20],
    ['512 MiB', 512 * 2 ** 20],
    ['1.5gib', 1.5 * 2 ** 30],
    ['20G', 20 * 2 ** 30],
    ['512m', 512 * 2 ** 20],
    ['4K', 4096],
    ['1T', 2 ** 40],
    ['14 MB', 14e6],
    ['4096B', 4096],
    ['0', 0],
  ])('reads %s as %d', (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  it.each(['', '20', '-1GiB', 'GiB', '20 gigs', '1e9B', '9000PiB', '1GiB2', '١GiB'])('refuses %j', (text) => {
    expect(() => parseBytes(text)).toThrow(/size/);
  });

  it.each([
    [512 * 2 ** 20, '512 MiB'],
    [8 * 2 ** 30, '8 GiB'],
    [1.2 * 2 ** 30, '1.2 GiB'],
    [2 ** 30 - 1, '1 GiB'],
    [100, '100 B'],
    [0, '0 B'],
  ])('shows %d as %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  it('shows files in powers of ten', () => expect(formatFileBytes(14_200_000)).toBe('14 MB'));

  it('reads back what it writes for configuration', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (n) => parseBytes(unitBytes(n)) === n));
  });
});
