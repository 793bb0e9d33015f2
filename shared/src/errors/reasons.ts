/**
 * The one table of reasons why Berth refuses or fails. A reason fixes the gRPC status it travels as, whether a caller
 * may try again, and the exit code of the command line. Words for people are written where the error is thrown,
 * because only that place knows which object and why.
 */

/** `never`: the same request will fail again. `later`: wait, then ask again. `same-request`: repeat with the same operation id. */
export type Retry = 'never' | 'later' | 'same-request';

interface ReasonRow {
  readonly status:
    | 'INVALID_ARGUMENT'
    | 'NOT_FOUND'
    | 'ALREADY_EXISTS'
    | 'FAILED_PRECONDITION'
    | 'ABORTED'
    | 'RESOURCE_EXHAUSTED'
    | 'UNAVAILABLE'
    | 'UNAUTHENTICATED'
    | 'PERMISSION_DENIED'
    | 'CANCELLED'
    | 'DEADLINE_EXCEEDED'
    | 'DATA_LOSS'
    | 'UNIMPLEMENTED'
    | 'INTERNAL';
  readonly retry: Retry;
  readonly meaning: string;
}

export const REASONS = {
  INVALID_ARGUMENT: {
    status: 'INVALID_ARGUMENT',
    retry: 'never',
    meaning: 'a field of the request is malformed or out of range',
  },
  NOT_FOUND: { status: 'NOT_FOUND', retry: 'never', meaning: 'no object of that kind has this name or id' },
  ALREADY_EXISTS: { status: 'ALREADY_EXISTS', retry: 'never', meaning: 'the name, address or key is taken' },
  BAD_STATE: {
    status: 'FAILED_PRECONDITION',
    retry: 'never',
    meaning: 'the object is not in a state that allows this',
  },
  STALE_GENERATION: {
    status: 'FAILED_PRECONDITION',
    retry: 'never',
    meaning: 'somebody else changed the object first',
  },
  IN_USE: { status: 'FAILED_PRECONDITION', retry: 'never', meaning: 'other objects still need this one' },
  RESOURCE_BUSY: { status: 'ABORTED', retry: 'later', meaning: 'a running job holds the lock of this object' },
  NO_CAPACITY: {
    status: 'RESOURCE_EXHAUSTED',
    retry: 'later',
    meaning: 'no host fits; one reason per host is attached',
  },
  RATE_LIMITED: {
    status: 'RESOURCE_EXHAUSTED',
    retry: 'later',
    meaning: 'the caller asks for more than its share; retryAfterMs says when to ask again',
  },
  DISK_FULL: { status: 'RESOURCE_EXHAUSTED', retry: 'later', meaning: 'a pool has no room left' },
  HOST_UNREACHABLE: {
    status: 'UNAVAILABLE',
    retry: 'same-request',
    meaning: 'the host did not answer; whether the request took effect is unknown',
  },
  HYPERVISOR_UNAVAILABLE: {
    status: 'UNAVAILABLE',
    retry: 'same-request',
    meaning: 'libvirt on the host did not answer; whether the request took effect is unknown',
  },
  PEER_UNAVAILABLE: {
    status: 'UNAVAILABLE',
    retry: 'later',
    meaning: 'the host that serves the data stopped serving it',
  },
  STORAGE_UNAVAILABLE: {
    status: 'UNAVAILABLE',
    retry: 'later',
    meaning: 'the storage of a pool does not answer',
  },
  CONTROLLER_UNREACHABLE: { status: 'UNAVAILABLE', retry: 'same-request', meaning: 'the controller did not answer' },
  UNSAFE_IMAGE: {
    status: 'INVALID_ARGUMENT',
    retry: 'never',
    meaning: 'the disk image is not acceptable (not an image, truncated, or refers to other files)',
  },
  DIGEST_MISMATCH: {
    status: 'DATA_LOSS',
    retry: 'later',
    meaning: 'data that arrived is not the data that was promised',
  },
  UNAUTHENTICATED: { status: 'UNAUTHENTICATED', retry: 'never', meaning: 'no valid credentials' },
  PERMISSION_DENIED: { status: 'PERMISSION_DENIED', retry: 'never', meaning: 'valid credentials, but not for this' },
  WRONG_CONTROLLER: {
    status: 'PERMISSION_DENIED',
    retry: 'never',
    meaning: 'another controller, or a newer state of this one, owns the host',
  },
  CANCELLED: { status: 'CANCELLED', retry: 'never', meaning: 'somebody cancelled it' },
  DEADLINE_EXCEEDED: { status: 'DEADLINE_EXCEEDED', retry: 'later', meaning: 'it took longer than its deadline' },
  UNSUPPORTED: { status: 'UNIMPLEMENTED', retry: 'never', meaning: 'this version or this host cannot do it' },
  INTERNAL: {
    status: 'INTERNAL',
    retry: 'never',
    meaning: 'a fault in Berth; the log has the details under the trace id',
  },
} as const satisfies Record<string, ReasonRow>;

export type Reason = keyof typeof REASONS;

export const isReason = (s: string): s is Reason => Object.hasOwn(REASONS, s);
