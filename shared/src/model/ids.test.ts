/** Ids: what is made can be parsed, and sorts by time. */
import { expect, test } from 'vitest';
import { isId, newId, parseId } from './ids.ts';

test('a new id is an id of its kind and of no other', () => {
  const id = newId('vm', 1_700_000_000_000);
  expect(isId('vm', id)).toBe(true);
  expect(isId('host', id)).toBe(false);
  expect(parseId('vm', id)).toBe(id);
  expect(() => parseId('vm', `${id}x`)).toThrow('not a vm id');
});

test('ids sort in the order in which they were made, also within one millisecond', () => {
  const ids = [5, 5, 5, 6, 4, 7].map((ms) => newId('job', 1_800_000_000_000 + ms));
  expect([...ids].sort()).toEqual(ids);
});
