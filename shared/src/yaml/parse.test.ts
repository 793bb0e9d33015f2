/** Unit tests of YAML for configuration. */
import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { parseYaml } from './parse.ts';

/** Aliases of aliases: a billion of the first. */
const BOMB = Array.from({ length: 9 }, (_, i) =>
  i === 0 ? 'a0: &a0 [x]' : `a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(',')}]`,
).join('\n');

it.each([
  ['a: !secret x', /^Unresolved tag: !secret at line 1, column 4$/],
  ['%odd\n---\na: 1', /^Unknown directive %odd at line 1/],
  ['a: [1', /at line 1, column 6$/],
  [BOMB, /alias/i],
  ['a: 1\na: 2', /^Map keys must be unique/],
])('refuses %j in one line', (text, words) => {
  expect(() => parseYaml(text)).toThrow(words);
});

it('warns nobody behind the back of who asked, whatever the text', () => {
  const warn = vi.spyOn(process, 'emitWarning');
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'!%&*#-:? \n[]{},|>@`ab1"\'') }), (text) => {
      try {
        parseYaml(text);
      } catch (e) {
        expect((e as Error).message).not.toContain('\n');
      }
    }),
    { numRuns: 3_000 },
  );
  expect(warn).not.toHaveBeenCalled();
});

it('reads what configuration is written in', () => {
  expect(parseYaml('a: 1\nb: [x, "y"]\nc: { d: null }\n')).toEqual({ a: 1, b: ['x', 'y'], c: { d: null } });
  expect(parseYaml('')).toBeNull();
});
