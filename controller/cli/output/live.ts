/**
 * Lines that change in place on a terminal, below the lines that are final. Off a terminal only final lines are written.
 * Draws on standard error, so that standard output stays clean for pipes.
 */
import type { Context } from '../core/context.ts';

export interface Live {
  /** Shows or replaces a line; undefined takes it away. */
  set(key: string, line: string | undefined): void;
  /** Writes a line for good, to standard output. */
  final(line: string): void;
  end(): void;
}

/** Redraws at most this often. */
const INTERVAL_MS = 80;

export function createLive(ctx: Context): Live {
  return ctx.stderr.isTTY === true
    ? terminal(ctx)
    : { set() {}, end() {}, final: (line) => void ctx.stdout.write(`${line}\n`) };
}

function terminal(ctx: Context): Live {
  const lines = new Map<string, string>();
  let drawn = 0;
  let pending: { cancel(): void } | undefined;
  const erase = () => {
    if (drawn > 0) ctx.stderr.write(`\x1b[${drawn}A\x1b[0J`);
    drawn = 0;
  };
  const draw = () => {
    pending = undefined;
    erase();
    const width = (ctx.stderr.columns ?? 80) - 1;
    for (const line of lines.values()) ctx.stderr.write(`${line.slice(0, width)}\n`);
    drawn = lines.size;
  };
  return {
    set(key, line) {
      if (line === undefined) lines.delete(key);
      else lines.set(key, line);
      pending ??= ctx.clock.after(INTERVAL_MS, draw);
    },
    final(line) {
      erase();
      ctx.stdout.write(`${line}\n`);
      draw();
    },
    end() {
      pending?.cancel();
      erase();
    },
  };
}
