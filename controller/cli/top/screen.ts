/**
 * The whole terminal, drawn over and over: the alternate screen, no cursor, keys as they are pressed. Whatever ends the program,
 * the terminal is as it was: a key, an error, Ctrl-C, a signal, the end of its input. Knows nothing of what is drawn.
 */
import type { Context } from '../core/context.ts';

export interface Screen {
  readonly columns: number;
  readonly rows: number;
  /** Lines that are too long are cut, lines that are too many are left out. */
  draw(lines: readonly string[]): void;
  /** Puts the terminal back. Twice is once. */
  restore(): void;
}

export interface ScreenEvents {
  key(name: string): void;
  resized(): void;
}

type Terminal = Pick<Context, 'stdin' | 'stdout'>;
/** What a program is told when it shall end; process, but for tests. */
export interface Ends {
  once(event: 'SIGTERM' | 'SIGHUP' | 'exit', listener: () => void): unknown;
  off(event: 'SIGTERM' | 'SIGHUP' | 'exit', listener: () => void): unknown;
  kill(pid: number, signal: 'SIGTERM' | 'SIGHUP'): unknown;
  readonly pid: number;
}

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';

export function openScreen({ stdin, stdout }: Terminal, events: ScreenEvents, ends: Ends): Screen {
  let open = true;
  const typed = (data: Buffer): void => {
    const text = data.toString();
    // an arrow or another key that sends several letters is none of ours
    if (text.length > 1 && text.startsWith('\x1b')) return;
    for (const key of text) events.key(key);
  };
  const restore = (): void => {
    if (!open) return;
    open = false;
    stdout.write(LEAVE);
    if (stdin.isTTY) stdin.setRawMode?.(false);
    stdin.off('data', typed).off('end', ended).pause();
    stdout.off('resize', events.resized);
    ends.off('exit', restore);
    ends.off('SIGTERM', terminated);
    ends.off('SIGHUP', hungUp);
  };
  const ended = (): void => events.key('q');
  // as if nobody had listened, once the terminal is as it was
  const terminated = (): void => (restore(), void ends.kill(ends.pid, 'SIGTERM'));
  const hungUp = (): void => (restore(), void ends.kill(ends.pid, 'SIGHUP'));
  ends.once('exit', restore);
  ends.once('SIGTERM', terminated);
  ends.once('SIGHUP', hungUp);
  stdout.on('resize', events.resized);
  stdout.write(ENTER);
  if (stdin.isTTY) {
    stdin.setRawMode?.(true);
    stdin.on('data', typed).once('end', ended);
  }
  return {
    get columns() {
      return Math.max(20, stdout.columns ?? 80);
    },
    get rows() {
      return Math.max(4, stdout.rows ?? 24);
    },
    draw(lines) {
      if (!open) return;
      const shown = lines.slice(0, this.rows).map((l) => `${[...l].slice(0, this.columns).join('')}\x1b[K`);
      stdout.write(`\x1b[H${shown.join('\r\n')}\x1b[J`);
    },
    restore,
  };
}
