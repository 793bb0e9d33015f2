/** A text in the person's own editor. Nothing is lost: the file stays until whoever asked says otherwise. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { Context } from '../core/context.ts';
import { runProgram } from '../core/programs.ts';

export interface Draft {
  readonly path: string;
  read(): string;
  write(text: string): void;
  forget(): void;
}

/** For its owner's eyes alone: a password may be typed into it. */
export function newDraft(name: string, text: string): Draft {
  const path = join(mkdtempSync(join(tmpdir(), 'berth-edit-')), name);
  const write = (t: string): void => writeFileSync(path, t, { mode: 0o600 });
  write(text);
  return {
    path,
    write,
    read: () => readFileSync(path, 'utf8'),
    forget: () => rmSync(dirname(path), { recursive: true, force: true }),
  };
}

/** Without a terminal these end at once, some of them as if all were well. */
const OF_TERMINALS = new Set([
  'vi',
  'vim',
  'nvim',
  'view',
  'vim.tiny',
  'vim.basic',
  'nano',
  'pico',
  'joe',
  'micro',
  'mcedit',
  'hx',
  'editor',
]);

/** @throws UNSUPPORTED when the editor needs a terminal, and there is none */
export function needTerminal(command: string, ctx: Pick<Context, 'stdin' | 'stdout'>): void {
  const program = basename(command.trim().split(/\s+/)[0] ?? '');
  if ((ctx.stdin.isTTY && ctx.stdout.isTTY) || !OF_TERMINALS.has(program)) return;
  throw unsupported(
    `there is no terminal here for the editor (${command}): nothing was changed. Set EDITOR to one that needs none, or change it with berth vm set, or from a file with berth apply -f`,
  );
}

/**
 * Until the editor is closed. @param command as in $EDITOR: a program with arguments, which a shell takes apart as it does for
 * everybody else; the file goes to it by itself. @throws UNSUPPORTED when it failed
 */
export async function edit(command: string, path: string): Promise<void> {
  const code = await runProgram('/bin/sh', ['-c', `${command} "$1"`, 'berth', path], 'it is needed to start an editor');
  if (code !== 0)
    throw unsupported(`the editor (${command}) ended with ${code}: nothing was changed. Set EDITOR to another one`);
}
