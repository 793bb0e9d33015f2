/** The one error class that crosses Berth's borders. Translation to and from gRPC is wire.ts's and nobody else's. */
import type { Reason } from './reasons.ts';

export type ErrorMeta = Readonly<Record<string, string>>;

export class ClusterError extends Error {
  override readonly name = 'ClusterError';
  /** @param message one line for people: what, which object, why, what to do next. @param meta machine-readable details. */
  constructor(
    readonly reason: Reason,
    message: string,
    readonly meta: ErrorMeta = {},
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** Brand check by shape, so that two copies of this package agree. */
export const isClusterError = (e: unknown, ...reasons: Reason[]): e is ClusterError =>
  e instanceof Error &&
  e.name === 'ClusterError' &&
  (reasons.length === 0 || reasons.includes((e as ClusterError).reason));

/** How gRPC begins the message of an error whose details it also gives. */
const GRPC_PREFIX = /^\d+ [A-Z_]+: /;

/** "a: b: c": the cause chain on one line, printed once, where the error is handled. What was said is not said again. */
export function chain(e: unknown): string {
  const parts: string[] = [];
  for (let cur: unknown = e, n = 0; cur !== undefined && cur !== null && n < 8; n++) {
    const said = cur instanceof Error ? cur.message : String(cur);
    if (!parts.some((p) => p.includes(said.replace(GRPC_PREFIX, '')))) parts.push(said);
    cur = cur instanceof Error ? cur.cause : undefined;
  }
  return parts.join(': ');
}

const make = (reason: Reason) => (message: string, meta?: ErrorMeta, cause?: unknown) =>
  new ClusterError(reason, message, meta, cause === undefined ? undefined : { cause });

export const invalidArgument = make('INVALID_ARGUMENT');
export const notFound = make('NOT_FOUND');
export const alreadyExists = make('ALREADY_EXISTS');
export const badState = make('BAD_STATE');
export const unsupported = make('UNSUPPORTED');
