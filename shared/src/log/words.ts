/** A line that pino wrote, as people read it. Pure. */

const LEVELS: Readonly<Record<number, string>> = {
  ...{ 10: 'trace', 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'fatal' },
};

/** Undefined for what pino did not write. */
export function words(json: string): { readonly atMs: number; readonly text: string } | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const { level, time, name: _, msg, err, ...rest } = parsed as Record<string, unknown>;
  const word = LEVELS[Number(level)];
  if (word === undefined || typeof time !== 'number') return undefined;
  const why = (err as { message?: string; stack?: string } | undefined)?.message;
  const more = Object.entries(rest).map(([k, v]) => `${k}=${typeof v === 'string' ? v : JSON.stringify(v)}`);
  const said = [msg, why].filter(Boolean).join(': ');
  return { atMs: time, text: [word.padEnd(5), said, ...more].join(' ').replaceAll('\n', ' ') };
}
