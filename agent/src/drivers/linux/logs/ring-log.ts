/** What this very process has written last, from its memory. */
import type { LogRing } from '@berth/shared/log/ring.ts';
import type { LogLine, LogWanted } from '../../host-logs.ts';

/** A reader that is slower than this loses the oldest of what it has not read. */
const MOST_WAITING = 2_000;

export async function* readRing(
  ring: LogRing,
  wanted: Pick<LogWanted, 'sinceMs' | 'tailLines' | 'follow'>,
  signal: AbortSignal,
): AsyncGenerator<readonly LogLine[]> {
  let waiting: LogLine[] = [];
  let wake = (): void => undefined;
  const unsubscribe = ring.subscribe((line) => {
    waiting.push(line);
    if (waiting.length > MOST_WAITING) waiting = waiting.slice(-MOST_WAITING / 2);
    wake();
  });
  const stop = (): void => wake();
  signal.addEventListener('abort', stop, { once: true });
  try {
    const past = ring.all().filter((l) => l.atMs >= wanted.sinceMs);
    yield past.slice(-wanted.tailLines);
    while (wanted.follow && !signal.aborted) {
      if (waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const lines = waiting;
      waiting = [];
      if (lines.length > 0) yield lines;
    }
  } finally {
    unsubscribe();
    signal.removeEventListener('abort', stop);
  }
}
