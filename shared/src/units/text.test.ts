import fc from 'fast-check';
import { expect, it } from 'vitest';
import { safeText } from './text.ts';

it('leaves out what drives a terminal, and nothing else', () => {
  expect(safeText('\x1b[2Ja\x07b\x9b31mc\td\ne\u202ef')).toBe('[2Jab31mc\td\nef');
  expect(safeText('Grüße, 世界 …')).toBe('Grüße, 世界 …');
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (s) => safeText(safeText(s)) === safeText(s)));
});
