/** From an error to what the person sees: one line, no stack, and an exit code that scripts can rely on. */
import { chain, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Reason } from '@berth/shared/errors/reasons.ts';

export const EXIT = { done: 0, failed: 1, usage: 2, notFound: 3, conflict: 4, unreachable: 5, permission: 6 } as const;

const BY_REASON: Readonly<Partial<Record<Reason, number>>> = {
  INVALID_ARGUMENT: EXIT.usage,
  NOT_FOUND: EXIT.notFound,
  ALREADY_EXISTS: EXIT.conflict,
  BAD_STATE: EXIT.conflict,
  STALE_GENERATION: EXIT.conflict,
  IN_USE: EXIT.conflict,
  RESOURCE_BUSY: EXIT.conflict,
  HOST_UNREACHABLE: EXIT.unreachable,
  HYPERVISOR_UNAVAILABLE: EXIT.unreachable,
  PEER_UNAVAILABLE: EXIT.unreachable,
  CONTROLLER_UNREACHABLE: EXIT.unreachable,
  UNAUTHENTICATED: EXIT.permission,
  PERMISSION_DENIED: EXIT.permission,
  WRONG_CONTROLLER: EXIT.permission,
};

export const exitCode = (e: unknown): number =>
  isClusterError(e) ? (BY_REASON[e.reason] ?? EXIT.failed) : EXIT.failed;

/** Hosts named in a refusal; the rest are counted. */
const NAMED = 20;

/** Long explanations come in several lines; those after the first are indented below the text. */
export const errorText = (e: unknown): string => refusals(e) ?? chain(e).trimEnd().split('\n').join('\n       ');

/** The same on one line, for one result among many. */
export const errorLine = (e: unknown): string =>
  chain(e)
    .trim()
    .replaceAll(/\s*\n\s*/g, '; ');

/** A refused placement, one aligned line per host: `  h2  cpu     48 threads, overcommit 1.0`. */
function refusals(e: unknown): string | undefined {
  if (!isClusterError(e, 'NO_CAPACITY')) return undefined;
  const rows = Object.entries(e.meta).flatMap(([host, why]) => {
    const [, filter = '', detail = ''] = /^([a-z-]+): (.*)$/s.exec(why) ?? [];
    return filter === '' ? [] : [[host, filter, detail === `in ${filter}` ? '' : detail] as const];
  });
  if (rows.length < 2) return undefined; // the message says it all
  rows.sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
  const width = (column: 0 | 1) => Math.max(...rows.map((r) => r[column].length));
  const lines = rows
    .slice(0, NAMED)
    .map(([host, filter, detail]) => `  ${host.padEnd(width(0))}  ${filter.padEnd(width(1))}  ${detail}`.trimEnd());
  if (rows.length > NAMED) lines.push(`  and ${rows.length - NAMED} more`);
  return [e.message.replace(/: .*$/s, ':'), ...lines].join('\n');
}
