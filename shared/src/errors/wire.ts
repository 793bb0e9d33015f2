/**
 * The only translator between ClusterError and gRPC status. An error travels as a status code, its one-line message,
 * and three trailers: `berth-reason`, `berth-retry`, `berth-meta-bin` (JSON). A client that meets an unknown reason
 * keeps the status and the retry advice. Not for deciding anything: only for carrying it.
 */
import { Metadata, status as Status, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { newTraceId } from '../runtime/random.ts';
import { chain, ClusterError, isClusterError, type ErrorMeta } from './cluster-error.ts';
import { isReason, REASONS, type Reason } from './reasons.ts';

/** What a handler threw, for any border: unknown exceptions become INTERNAL with a trace id; `report` gets them with it, once. */
export function known(
  e: unknown,
  report: (traceId: string, e: unknown) => void,
  traceId: string = newTraceId(),
): ClusterError {
  if (isClusterError(e)) return e;
  report(traceId, e);
  return new ClusterError('INTERNAL', `internal error (trace ${traceId}); the log has the details`, { traceId });
}

/** Translates what a handler threw, as `known` sees it. */
export function toStatus(thrown: unknown, report: (traceId: string, e: unknown) => void): Partial<StatusObject> {
  const e = known(thrown, report);
  const metadata = new Metadata();
  const row = REASONS[e.reason];
  metadata.set('berth-reason', e.reason);
  metadata.set('berth-retry', row.retry);
  if (Object.keys(e.meta).length > 0) metadata.set('berth-meta-bin', Buffer.from(JSON.stringify(e.meta)));
  return { code: Status[row.status], details: wellFormed(chain(e)), metadata };
}

/** A text that was cut in the middle of a character: the gRPC library cannot send it, and would take the process down. */
const wellFormed = (text: string): string => text.replace(/\p{Surrogate}/gu, '\uFFFD');

const FALLBACK: Readonly<Record<number, Reason>> = {
  [Status.INVALID_ARGUMENT]: 'INVALID_ARGUMENT',
  [Status.NOT_FOUND]: 'NOT_FOUND',
  [Status.ALREADY_EXISTS]: 'ALREADY_EXISTS',
  [Status.FAILED_PRECONDITION]: 'BAD_STATE',
  [Status.ABORTED]: 'RESOURCE_BUSY',
  [Status.RESOURCE_EXHAUSTED]: 'NO_CAPACITY',
  [Status.UNAUTHENTICATED]: 'UNAUTHENTICATED',
  [Status.PERMISSION_DENIED]: 'PERMISSION_DENIED',
  [Status.DATA_LOSS]: 'DIGEST_MISMATCH',
  [Status.UNIMPLEMENTED]: 'UNSUPPORTED',
};

/** Transport failures: the call may or may not have taken effect. */
const TRANSPORT: ReadonlySet<number> = new Set([
  Status.UNAVAILABLE,
  Status.DEADLINE_EXCEEDED,
  Status.CANCELLED,
  Status.UNKNOWN,
]);

/**
 * Translates what a gRPC client call failed with.
 * @param unreachable the reason for a transport failure: HOST_UNREACHABLE towards agents, CONTROLLER_UNREACHABLE from clients.
 */
export function fromStatus(
  e: ServiceError,
  unreachable: 'HOST_UNREACHABLE' | 'CONTROLLER_UNREACHABLE',
  peer: string,
): ClusterError {
  const sent = String(e.metadata?.get('berth-reason')[0] ?? '');
  if (isReason(sent)) return new ClusterError(sent, e.details, readMeta(e.metadata));
  if (TRANSPORT.has(e.code))
    return new ClusterError(
      unreachable,
      `${peer} did not answer (${e.code === Status.CANCELLED ? 'the connection to it has ended' : e.details || e.message})`,
      { phase: 'unknown' },
      e.code === Status.CANCELLED ? {} : { cause: e },
    );
  return new ClusterError(FALLBACK[e.code] ?? 'INTERNAL', e.details || e.message, {}, { cause: e });
}

function readMeta(metadata: Metadata): ErrorMeta {
  const raw = metadata.get('berth-meta-bin')[0];
  if (!Buffer.isBuffer(raw)) return {};
  try {
    const parsed: unknown = JSON.parse(raw.toString());
    if (typeof parsed !== 'object' || parsed === null) return {};
    return Object.fromEntries(Object.entries(parsed).filter((p): p is [string, string] => typeof p[1] === 'string'));
  } catch {
    return {}; // a peer that sends garbage loses its details, not the caller's error
  }
}
