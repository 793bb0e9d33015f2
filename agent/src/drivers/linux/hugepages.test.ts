import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hugePageBytes, parseChoice, parseSwap, wholeNumber } from './hugepages.ts';

describe('what the kernel says of memory', () => {
  it('about page sizes stands in the names of directories', () => {
    expect(hugePageBytes('hugepages-2048kB')).toBe(2 * 2 ** 20);
    expect(hugePageBytes('hugepages-1048576kB')).toBe(2 ** 30);
    for (const name of ['hugepages-0kB', 'hugepages-kB', '..', 'x']) expect(hugePageBytes(name)).toBeUndefined();
  });

  it('about a choice is the word in brackets', () => {
    expect(parseChoice('always [madvise] never\n')).toEqual({
      chosen: 'madvise',
      choices: ['always', 'madvise', 'never'],
    });
    expect(parseChoice('[none] mq-deadline kyber bfq')).toMatchObject({ chosen: 'none' });
    expect(parseChoice('none')).toBeUndefined();
    expect(parseChoice('')).toBeUndefined();
  });

  it('about swap is what is there and not free', () => {
    expect(parseSwap('SwapTotal:       1024 kB\nSwapFree:         256 kB\n')).toEqual({
      totalBytes: 1024 * 1024,
      usedBytes: 768 * 1024,
    });
    expect(parseSwap('')).toEqual({ totalBytes: 0, usedBytes: 0 });
  });

  it('is never more than a safe whole number, whatever stands there', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(Number.isSafeInteger(wholeNumber(text)) && wholeNumber(text) >= 0).toBe(true);
        const choice = parseChoice(text);
        expect(choice === undefined || choice.choices.includes(choice.chosen)).toBe(true);
        const swap = parseSwap(`SwapTotal: ${text} kB\nSwapFree: ${text}`);
        expect(swap.usedBytes >= 0 && swap.usedBytes <= swap.totalBytes).toBe(true);
      }),
    );
  });
});
