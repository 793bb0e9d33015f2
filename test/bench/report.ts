/** How the bench shows what it measured: aligned tables, and a few numbers for many samples. Knows nothing of what is measured. */

export type Say = (line: string) => void;
export type Row = readonly (string | number)[];

/** A title, a head, rows; numbers and everything after the first column to the right. */
export function table(say: Say, title: string, head: readonly string[], rows: readonly Row[]): void {
  const cells = [head, ...rows.map((r) => r.map(String))];
  const widths = head.map((_, i) => Math.max(...cells.map((r) => (r[i] ?? '').length)));
  say(`\n${title}`);
  for (const row of cells)
    say(
      `  ${row.map((c, i) => (i === 0 ? c.padEnd(widths[i] ?? 0) : c.padStart(widths[i] ?? 0))).join('  ')}`.trimEnd(),
    );
}

/** What is under a table: how it was measured. */
export const remark = (say: Say, text: string): void => say(`  (${text})`);

export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}

export const SPREAD = ['n', 'min', 'median', 'max'] as const;

/** For the columns of SPREAD. */
export const spread = (samples: readonly number[]): Row => [
  samples.length,
  ms(Math.min(...samples)),
  ms(median(samples)),
  ms(Math.max(...samples)),
];

export const ms = (n: number): string =>
  n >= 10_000 ? `${(n / 1000).toFixed(1)} s` : `${n.toFixed(n < 10 ? 1 : 0)} ms`;
export const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
export const perSecond = (n: number): string => `${Math.round(n)}/s`;

/** Repeats one measurement, one after another. */
export async function repeat<T>(times: number, once: (i: number) => Promise<T>): Promise<T[]> {
  const all: T[] = [];
  for (let i = 0; i < times; i++) all.push(await once(i));
  return all;
}

export async function timed<T>(work: () => Promise<T>): Promise<{ readonly value: T; readonly ms: number }> {
  const started = performance.now();
  const value = await work();
  return { value, ms: performance.now() - started };
}
