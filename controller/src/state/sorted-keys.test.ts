/** A sorted set, compared with the obvious one. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SortedKeys } from './sorted-keys.ts';

test('it holds what a sorted array would hold, forwards and backwards', () => {
  const key = fc.integer({ min: 0, max: 2_000 }).map((n) => `k${n}`);
  const ops = fc.array(fc.record({ add: fc.boolean(), key }), { maxLength: 400 });
  fc.assert(
    fc.property(fc.uniqueArray(key, { maxLength: 1_500 }), ops, key, (start, all, at) => {
      const set = SortedKeys.from(start);
      const plain = new Set(start);
      for (const o of all) {
        if (o.add) set.add(o.key);
        else set.delete(o.key);
        if (o.add) plain.add(o.key);
        else plain.delete(o.key);
      }
      const sorted = [...plain].sort();
      expect(set.after(undefined, Infinity)).toEqual(sorted);
      expect(set.after(at, 10)).toEqual(sorted.filter((k) => k > at).slice(0, 10));
      expect(set.before(at, 10)).toEqual(
        sorted
          .filter((k) => k < at)
          .reverse()
          .slice(0, 10),
      );
      expect(set.before(undefined, 3)).toEqual(sorted.slice(-3).reverse());
    }),
    { numRuns: 60 },
  );
});

test('many keys in any order stay cheap', () => {
  const set = SortedKeys.from([]);
  for (let i = 0; i < 20_000; i++) set.add(String((i * 7919) % 20_000).padStart(6, '0'));
  expect(set.after(undefined, Infinity)).toHaveLength(20_000);
  expect(set.after('009999', 2)).toEqual(['010000', '010001']);
});
