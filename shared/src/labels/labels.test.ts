import { expect, it } from 'vitest';
import { checkLabels } from './labels.ts';

it('takes labels with any text as their value, and copies them', () => {
  const given = { tier: 'web', 'example.org/note': 'größer "als" {{ 1 }}', empty: '' };
  expect(checkLabels('a vm', given)).toEqual(given);
  expect(checkLabels('a vm', given)).not.toBe(given);
});

it.each([{ 'a b': 'x' }, { '': 'x' }, { a: 'x'.repeat(256) }, { a: 'x\ny' }, { a: '\u001b[2J' }])(
  'refuses %j in one line',
  (labels) =>
    expect(() => checkLabels('a vm', labels as unknown as Record<string, string>)).toThrow(
      /^\P{Cc}+ is not a label: write it like zone=b$/u,
    ),
);
