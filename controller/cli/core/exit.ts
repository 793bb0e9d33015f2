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
export const exitCodeOf = (reason: string): number => BY_REASON[reason as Reason] ?? EXIT.failed;

/** Long explanations come in several lines; those after the first are indented below the text. */
export const errorText = (e: unknown): string => chain(e).trimEnd().split('\n').join('\n       ');
