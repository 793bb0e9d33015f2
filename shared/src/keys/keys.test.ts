import { expect, it } from 'vitest';
import { KEY_NAMES, parseChord } from './keys.ts';

it.each([
  ['ctrl-alt-delete', [29, 56, 111]],
  ['Ctrl-Alt-Del', [29, 56, 111]],
  ['KEY_ENTER', [28]],
  ['a', [30]],
  ['z', [44]],
  ['0', [11]],
  ['space', [57]],
  ['f1', [59]],
  ['f10', [68]],
  ['f12', [88]],
  ['kp0', [82]],
  ['alt-sysrq-b', [56, 99, 48]],
  ['pagedown', [109]],
  ['leftmeta', [125]],
])('%s is %j', (chord, codes) => expect(parseChord(chord)).toEqual(codes));

it.each(['', '-', 'ctrl-', 'enter!', 'constructor', 'ctrl-alt-boom', Array(17).fill('a').join('-')])(
  '%j is refused',
  (chord) => expect(() => parseChord(chord)).toThrow(expect.objectContaining({ reason: 'INVALID_ARGUMENT' })),
);

it('says which key of a chord is none', () => {
  expect(() => parseChord('ctrl-alt-boom')).toThrow(/^"boom" in ctrl-alt-boom is no key: write keys like/);
});

it('has each name once', () => expect(new Set(KEY_NAMES).size).toBe(KEY_NAMES.length));
