import { describe, expect, it } from 'vitest';
import { expandNames } from './expand-names.ts';

describe('names in braces', () => {
  it.each([
    [
      ['web', 'db'],
      ['web', 'db'],
    ],
    [['web-{01..03}'], ['web-01', 'web-02', 'web-03']],
    [['web-{8..11}'], ['web-8', 'web-9', 'web-10', 'web-11']],
    [['n{098..100}'], ['n098', 'n099', 'n100']],
    [['x{3..1}'], ['x3', 'x2', 'x1']],
    [['{web,db}-{1..2}-x'], ['web-1-x', 'web-2-x', 'db-1-x', 'db-2-x']],
  ])('%j are %j', (given, names) => expect(expandNames(given)).toEqual(names));

  it.each([
    ['web-{01..}', 'web-{01..} cannot be expanded: write it like web-{01..20} or web-{a,b,c}'],
    ['web-{}', 'cannot be expanded'],
    ['web-{1..2', 'cannot be expanded'],
    ['web}', 'cannot be expanded'],
    ['web-{1..999999999}', 'makes more than 2000 names'],
    ['{1..99}{1..99}', 'makes more than 2000 names'],
    ['{a,a}', 'a is named twice'],
  ])('%s is refused', (given, why) => expect(() => expandNames([given])).toThrow(why));
});
