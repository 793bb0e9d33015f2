/** The terminal in raw mode for as long as somebody talks to a guest, and as it was afterwards, however the command ends. */
import type { ReadStream } from 'node:tty';
import type { Context } from './context.ts';

/** Colours off, cursor shown, no mouse reports, no bracketed paste: what a guest that is left in the middle leaves behind. */
const AS_BEFORE = '\x1b[0m\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?2004l';
const ENDS = { SIGTERM: 143, SIGHUP: 129 } as const;

/** @returns what puts it back; undefined when standard input is no terminal. */
export function rawTerminal(ctx: Context): (() => void) | undefined {
  if (ctx.stdin.isTTY !== true) return undefined;
  const terminal = ctx.stdin as unknown as ReadStream;
  let raw = true;
  const restore = () => {
    if (!raw) return;
    raw = false;
    terminal.setRawMode(false);
    if (ctx.stdout.isTTY) ctx.stdout.write(AS_BEFORE);
    process.off('exit', restore);
    for (const [signal, end] of ends) process.off(signal, end);
  };
  const ends = Object.entries(ENDS).map(
    ([signal, code]) =>
      [
        signal,
        () => {
          restore();
          process.exit(code);
        },
      ] as const,
  );
  terminal.setRawMode(true);
  process.once('exit', restore);
  for (const [signal, end] of ends) process.once(signal, end);
  return restore;
}
