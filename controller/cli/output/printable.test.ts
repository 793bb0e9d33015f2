import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { printable } from './printable.ts';

const whole = (text: string) => printable()(Buffer.from(text));

describe('what a guest wrote', () => {
  it('keeps its lines, letters and colours', () => {
    expect(whole('web# \x1b[31mrot é\x1b[0m\r\n\tok\n')).toBe('web# \x1b[31mrot é\x1b[0m\r\n\tok\n');
  });
  it('asks the terminal nothing, and changes nothing in it', () => {
    expect(whole('a\x1b[6nb\x1b[2Jc\x1b]0;title\x07d\x1b[?25le\x1bcf\x07g\x9b6n')).toBe('abcdefg6n');
  });
  it('is the same however it is cut', () => {
    const text = 'é\x1b[31mx\x1b[6ny\x1b]0;t\x07z\x1b[0m end';
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 40 }), { maxLength: 6 }), (cuts) => {
        const bytes = Buffer.from(text);
        const show = printable();
        const at = [0, ...cuts.map((c) => Math.min(c, bytes.length)).sort((a, b) => a - b), bytes.length];
        const shown = at.slice(1).map((end, i) => show(bytes.subarray(at[i], end)));
        expect(shown.join('')).toBe(whole(text));
      }),
    );
  });
});
