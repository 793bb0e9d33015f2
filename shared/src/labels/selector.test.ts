import { describe, expect, it } from 'vitest';
import { parseSelector } from './selector.ts';

describe('a label selector', () => {
  it.each([
    ['', {}, true],
    ['team=a', { team: 'a' }, true],
    ['team=a', { team: 'b' }, false],
    ['team=a', {}, false],
    ['team=a,tier!=db', { team: 'a', tier: 'web' }, true],
    ['team=a,tier!=db', { team: 'a', tier: 'db' }, false],
    ['tier!=db', {}, true],
    ['zone', { zone: '' }, true],
    ['zone', {}, false],
    ['!zone', {}, true],
    ['!zone', { zone: 'x' }, false],
    ['constructor', {}, false],
  ] as [string, Record<string, string>, boolean][])('%j on %j is %j', (text, labels, fits) => {
    expect(parseSelector(text)(labels)).toBe(fits);
  });

  it.each([',', '=a', 'a=b=c', 'a=b,,c=d', '!a=b', 'a b=c', 'x'.repeat(64), 'a,'.repeat(40)])('%j is none', (text) => {
    expect(() => parseSelector(text)).toThrow(expect.objectContaining({ reason: 'INVALID_ARGUMENT' }));
  });
});
