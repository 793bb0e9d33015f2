/** Which editors are not begun with where there is no terminal. */
import { expect, it } from 'vitest';
import { needTerminal } from './editor.ts';

const at = (stdin: boolean, stdout: boolean) =>
  ({ stdin: { isTTY: stdin }, stdout: { isTTY: stdout } }) as unknown as Parameters<typeof needTerminal>[1];

it.each(['vi', '/usr/bin/vim -n', 'nano'])('%s needs a terminal on both sides', (command) => {
  expect(() => needTerminal(command, at(true, true))).not.toThrow();
  for (const ctx of [at(false, true), at(true, false), at(false, false)])
    expect(() => needTerminal(command, ctx)).toThrow(/no terminal here for the editor.*Set EDITOR/);
});

it.each(['sed -i s/1/2/', 'code --wait', 'true', '/tmp/my editor'])('%s needs none', (command) => {
  expect(() => needTerminal(command, at(false, false))).not.toThrow();
});
