/** ClusterError as HTTP says it: a status, and a body for people and programs. Pure; the table is shared/src/errors/reasons.ts. */
import { chain, type ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { REASONS, type Reason } from '@berth/shared/errors/reasons.ts';
import { HttpProblem } from './problem.ts';

type Status = (typeof REASONS)[Reason]['status'];

const OF_STATUS: Readonly<Record<Status, number>> = {
  INVALID_ARGUMENT: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  FAILED_PRECONDITION: 409,
  ABORTED: 409,
  RESOURCE_EXHAUSTED: 429,
  CANCELLED: 499,
  INTERNAL: 500,
  DATA_LOSS: 500,
  UNIMPLEMENTED: 501,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
};

/** 429 tells a client to ask more slowly; that mends neither of these. */
const OF_REASON: Partial<Record<Reason, number>> = { NO_CAPACITY: 409, DISK_FULL: 507 };

export interface HttpError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: {
    readonly error: {
      readonly code: number;
      readonly status: string;
      readonly reason: string;
      readonly message: string;
      readonly retry: string;
      readonly meta: Readonly<Record<string, string>>;
      readonly traceId: string;
    };
  };
}

export const httpStatusOf = (reason: Reason): number => OF_REASON[reason] ?? OF_STATUS[REASONS[reason].status];

export function toHttpError(e: ClusterError, traceId: string): HttpError {
  const { status, retry } = REASONS[e.reason];
  const code = e instanceof HttpProblem ? e.httpStatus : httpStatusOf(e.reason);
  const { reason, meta } = e;
  const headers = {
    ...(e instanceof HttpProblem ? e.headers : {}),
    ...(code === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...(code === 429 || code === 503 ? { 'retry-after': retryAfter(meta['retryAfterMs']) } : {}),
  };
  return { status: code, headers, body: { error: { code, status, reason, message: chain(e), retry, meta, traceId } } };
}

/** In whole seconds. */
const retryAfter = (ms: string | undefined): string => String(Math.max(1, Math.ceil(Number(ms ?? 0) / 1_000)));
