/**
 * Keys of a keyboard by name, and chords of them (`ctrl-alt-delete`). The numbers are Linux's (input-event-codes.h), which
 * libvirt takes as its own. Pure.
 */
import { invalidArgument } from '../errors/cluster-error.ts';

/** Names in the order of their numbers, from the one before the colon on. */
const ROWS: readonly (readonly [number, string])[] = [
  [1, 'esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e r t y u i o p leftbrace rightbrace enter leftctrl'],
  [30, 'a s d f g h j k l semicolon apostrophe grave leftshift backslash z x c v b n m comma dot slash rightshift'],
  [55, 'kpasterisk leftalt space capslock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 numlock scrolllock'],
  [71, 'kp7 kp8 kp9 kpminus kp4 kp5 kp6 kpplus kp1 kp2 kp3 kp0 kpdot'],
  [86, '102nd f11 f12'],
  [96, 'kpenter rightctrl kpslash sysrq rightalt'],
  [102, 'home up pageup left right end down pagedown insert delete'],
  [119, 'pause'],
  [125, 'leftmeta rightmeta compose'],
];

/** What people say as well. */
const ALSO: Readonly<Record<string, string>> = {
  ctrl: 'leftctrl',
  control: 'leftctrl',
  alt: 'leftalt',
  altgr: 'rightalt',
  shift: 'leftshift',
  meta: 'leftmeta',
  super: 'leftmeta',
  win: 'leftmeta',
  del: 'delete',
  ins: 'insert',
  return: 'enter',
  escape: 'esc',
  period: 'dot',
  print: 'sysrq',
};

const CODES: ReadonlyMap<string, number> = new Map(
  ROWS.flatMap(([first, names]) => names.split(' ').map((name, i) => [name, first + i] as const)),
);
/** QEMU takes so many at once. */
const MOST_AT_ONCE = 16;
export const MOST_CHORDS = 64;

/** For completion. */
export const KEY_NAMES: readonly string[] = [...CODES.keys(), ...Object.keys(ALSO)];

/** `ctrl-alt-delete` → [29, 56, 111]; also `KEY_ENTER`. INVALID_ARGUMENT names the key that is none. */
export function parseChord(chord: string): readonly number[] {
  const codes = chord.split('-').map((name) => codeOf(name, chord));
  if (codes.length > MOST_AT_ONCE)
    throw invalidArgument(`${chord.slice(0, 80)} is more than ${MOST_AT_ONCE} keys at once`);
  return codes;
}

function codeOf(given: string, chord: string): number {
  const name = given.toLowerCase().replace(/^key_/, '');
  const code = CODES.get(Object.hasOwn(ALSO, name) ? (ALSO[name] ?? name) : name);
  if (code !== undefined) return code;
  const shown = JSON.stringify(given.slice(0, 40));
  throw invalidArgument(
    `${shown}${given === chord ? '' : ` in ${chord.slice(0, 80)}`} is no key: write keys like enter, f2 or ctrl-alt-delete`,
  );
}
