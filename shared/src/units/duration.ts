/** Durations with units: `10s`, `500ms`, `2h` in; `2.1 s`, `1 m 12 s`, `31 d` out. Not for points in time. */
import { invalidArgument } from '../errors/cluster-error.ts';

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1e3,
  m: 60e3,
  min: 60e3,
  h: 3_600e3,
  d: 86_400e3,
  w: 604_800e3,
};
const MAX_MS = 100 * 365 * 86_400e3;

/** Milliseconds of `5s`, `500ms`, `2h`, `1h30m`, `1.5 s`. A bare number has no unit, so it is refused (0 excepted). */
export function parseDuration(text: string): number {
  const compact = text.trim().replace(/\s+/g, '');
  if (compact === '0') return 0;
  const parts = [...compact.matchAll(/(\d{1,15}(?:\.\d{1,6})?)(ms|min|[smhdw])/g)];
  if (parts.length === 0 || parts.map((p) => p[0]).join('') !== compact)
    throw invalidArgument(
      `${JSON.stringify(text.slice(0, 40))} is not a duration: write a number with a unit, like 10s, 500ms or 2h`,
    );
  const ms = Math.round(parts.reduce((sum, p) => sum + Number(p[1]) * (UNITS[p[2] as string] as number), 0));
  if (ms > MAX_MS) throw invalidArgument(`${compact} is longer than 100 years`);
  return ms;
}

/** How long something took: `3 ms`, `0.4 s`, `41 s`, `1 m 12 s`, `2 h 5 m`, `3 d 4 h`. */
export function formatDuration(ms: number): string {
  if (ms < 100) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1e3).toFixed(1).replace(/\.0$/, '')} s`;
  const s = Math.round(ms / 1e3);
  if (s < 60) return `${s} s`;
  if (s < 3_600) return pair(s, [60, 'm'], [1, 's']);
  if (s < 86_400) return pair(s, [3_600, 'h'], [60, 'm']);
  return pair(s, [86_400, 'd'], [3_600, 'h']);
}

/** How old something is, in one unit: `12 s`, `4 m`, `3 h`, `31 d`. */
export function formatAge(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1e3));
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} m`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

/** Exact and without a space, so that it can be read back: configuration. */
export function unitDuration(ms: number): string {
  const fits = ['d', 'h', 'm', 's'].find((u) => ms > 0 && ms % (UNITS[u] as number) === 0);
  return fits === undefined ? `${ms}ms` : `${ms / (UNITS[fits] as number)}${fits}`;
}

type Unit = readonly [seconds: number, name: string];

function pair(s: number, [big, bigName]: Unit, [small, smallName]: Unit): string {
  const rest = Math.floor((s % big) / small);
  return `${Math.floor(s / big)} ${bigName}${rest > 0 ? ` ${rest} ${smallName}` : ''}`;
}
