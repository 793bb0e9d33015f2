/**
 * The last lines of a log in the memory of the process that writes it, for where nobody else keeps them. Bounded by lines and by
 * letters; forgets the oldest. Knows what pino writes, and nothing of files.
 */
import type { DestinationStream } from 'pino';
import { words } from './words.ts';

export interface RingLine {
  readonly atMs: number;
  readonly text: string;
}

const MOST_LINES = 4_000;
const MOST_CHARS = 1 << 20;

export class LogRing implements DestinationStream {
  private readonly lines: string[] = [];
  private chars = 0;
  private readonly listeners = new Set<(line: RingLine) => void>();

  write(json: string): void {
    this.lines.push(json);
    this.chars += json.length;
    while (this.lines.length > MOST_LINES || this.chars > MOST_CHARS) {
      const oldest = this.lines.shift();
      if (oldest === undefined) break;
      this.chars -= oldest.length;
    }
    if (this.listeners.size === 0) return;
    const line = toLine(json);
    for (const l of this.listeners) l(line);
  }

  /** Oldest first. */
  all(): RingLine[] {
    return this.lines.map(toLine);
  }

  /** Told of each line to come, until the returned function is called. */
  subscribe(listener: (line: RingLine) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }
}

const toLine = (json: string): RingLine => words(json) ?? { atMs: 0, text: json.trimEnd() };
