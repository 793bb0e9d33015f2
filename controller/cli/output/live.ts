/**
 * Lines that change in place on a terminal, below the lines that are final. Off a terminal only final lines are written.
 * Draws on standard error, so that standard output stays clean for pipes.
 */
import { safeText } from '@berth/shared/units/text.ts';
import type { Context } from '../core/context.ts';

export interface Live {
  /** Shows or replaces a line; undefined takes it away. */
  set(key: string, line: string | undefined): void;
  /** Writes a line for good, to standard output. */
  final(line: string): void;
  /** Takes all changing lines away. */
  end(): void;
}

/** Redraws at most this often. */
const INTERVAL_MS = 80;

export function createLive(ctx: Pick<Context, 'stdout' | 'stderr' | 'clock'>): Live {
  return ctx.stderr.isTTY === true
    ? terminal(ctx)
    : { set() {}, end() {}, final: (line) => void ctx.stdout.write(`${safeText(line)}\n`) };
}

function terminal({ stdout, stderr, clock }: Pick<Context, 'stdout' | 'stderr' | 'clock'>): Live {
  const lines = new Map<string, string>();
  let drawn = 0;
  let pending: { cancel(): void } | undefined;
  const erase = () => {
    if (drawn > 0) stderr.write(`\r\x1b[${drawn}A\x1b[0J`); // \r: ^C may have been echoed
    drawn = 0;
  };
  const draw = () => {
    pending?.cancel();
    pending = undefined;
    erase();
    const shown = fitting([...lines.values()], stderr.columns ?? 80, stderr.rows ?? 24);
    stderr.write(shown.map((line) => `${safeText(line)}\n`).join(''));
    drawn = shown.length;
  };
  return {
    set(key, line) {
      if (lines.get(key) === line) return;
      if (line === undefined) lines.delete(key);
      else lines.set(key, line);
      pending ??= clock.after(INTERVAL_MS, draw);
    },
    final(line) {
      erase();
      stdout.write(`${safeText(line)}\n`);
      draw();
    },
    end() {
      lines.clear();
      draw();
    },
  };
}

/** What can be erased again: no line wraps, and none is scrolled out of the screen. */
function fitting(lines: readonly string[], columns: number, rows: number): string[] {
  const room = Math.max(1, rows - 2);
  const shown = lines.length > room ? [...lines.slice(0, room - 1), `… and ${lines.length - room + 1} more`] : lines;
  return shown.map((line) => [...line.replaceAll(/\p{Cc}/gu, ' ')].slice(0, Math.max(1, columns - 1)).join(''));
}
