/** From pieces of text to lines with their time: cut, dated, filtered. Pure but for what it remembers of the line before. */
import { words } from '@berth/shared/log/words.ts';
import type { LogLine } from '../../host-logs.ts';

export const MOST_CHARS = 8_192;

/** Where a line's time stands, and what is left of it: undefined where it says none. */
export type Dating = (line: string) => LogLine | undefined;

/** libvirt and QEMU: `2026-11-21 15:03:54.123+0000: 123: error : …`. */
export const libvirtDate: Dating = (line) => {
  const m = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{3})([+-]\d\d)(\d\d): ?(.*)$/s.exec(line);
  return m ? dated(`${m[1]}T${m[2]}${m[3]}:${m[4]}`, m[5] ?? '') : undefined;
};

/** `journalctl -o short-unix`: `1732200000.123456 host name[12]: …`; what Berth's own daemons wrote is put in words. */
export const journalDate: Dating = (line) => {
  const m = /^(\d{9,11}\.\d{1,6}) \S+ (.*)$/s.exec(line);
  if (!m) return undefined;
  const text = m[2] ?? '';
  const own = /^berth-\w+\[\d+\]: (\{.*\})$/.exec(text)?.[1];
  return (own && words(own)) || { atMs: Math.round(Number(m[1]) * 1000), text };
};

/** `dmesg --time-format iso`: `2026-11-21T15:03:54,123456+00:00 …`. */
export const kernelDate: Dating = (line) => {
  const m = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d),(\d{3})\d*([+-]\d\d:\d\d) (.*)$/s.exec(line);
  return m ? dated(`${m[1]}.${m[2]}${m[3]}`, m[4] ?? '') : undefined;
};

function dated(iso: string, text: string): LogLine | undefined {
  const atMs = Date.parse(iso);
  return Number.isNaN(atMs) ? undefined : { atMs, text };
}

/** Takes text as it comes; gives whole lines. A line without a time has that of the line before it. */
export class LineReader {
  private rest = '';
  private atMs = 0;

  constructor(
    private readonly date: Dating,
    private readonly sinceMs: number,
    /** It begins somewhere in the middle of a line, which is left out. */
    private skipping = false,
  ) {}

  take(piece: string): LogLine[] {
    const cut = this.skipping ? piece.indexOf('\n') : -1;
    if (this.skipping && cut < 0) return [];
    this.skipping = false;
    const parts = (this.rest + piece.slice(cut + 1)).split('\n');
    // a line that never ends is cut, so that it is not kept whole
    this.rest = (parts.pop() ?? '').slice(0, 2 * MOST_CHARS);
    return parts.flatMap((line) => this.line(line));
  }

  /** What stood behind the last line feed. */
  end(): LogLine[] {
    const last = this.rest;
    this.rest = '';
    return last === '' ? [] : this.line(last);
  }

  private line(raw: string): LogLine[] {
    const line = raw.length > MOST_CHARS ? `${raw.slice(0, MOST_CHARS)}…` : raw;
    const found = this.date(line);
    if (found) this.atMs = found.atMs;
    if (this.atMs < this.sinceMs) return [];
    return [found ?? { atMs: this.atMs, text: line }];
  }
}

/** Keeps the last so many lines, and no more of them than that in memory. */
export class Tail {
  private kept: LogLine[] = [];

  constructor(private readonly most: number) {}

  add(lines: readonly LogLine[]): void {
    for (const l of lines) this.kept.push(l);
    if (this.kept.length > 2 * this.most + 1_000) this.kept = this.kept.slice(-this.most);
  }

  take(): readonly LogLine[] {
    return this.kept.slice(-this.most);
  }
}
