/**
 * The only place that turns libvirt's error numbers into ClusterErrors, and that words the loss of a connection.
 * Numbers decide, never texts: libvirt's messages are localised and change between releases.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Reason } from '@berth/shared/errors/reasons.ts';
import type { RemoteError } from './types.ts';

export const CODE = {
  internal: 1,
  noSupport: 3,
  operationFailed: 9,
  systemError: 38,
  noDomain: 42,
  operationInvalid: 55,
  configUnsupported: 67,
  operationTimeout: 68,
  noSnapshot: 72,
  argumentUnsupported: 74,
  noDomainMetadata: 80,
  blockCopyActive: 83,
  operationUnsupported: 84,
  agentUnresponsive: 86,
  agentUnsynced: 97,
  agentCommandTimeout: 111,
  agentCommandFailed: 112,
} as const;

/** libvirt's error number → our reason. What is missing here is INTERNAL with libvirt's own words. */
const REASON_OF: Readonly<Record<number, Reason>> = {
  3: 'UNSUPPORTED', // NO_SUPPORT
  8: 'INVALID_ARGUMENT', // INVALID_ARG
  27: 'INVALID_ARGUMENT', // XML_ERROR
  35: 'INVALID_ARGUMENT', // XML_DETAIL
  42: 'NOT_FOUND', // NO_DOMAIN
  43: 'NOT_FOUND', // NO_NETWORK
  45: 'PERMISSION_DENIED', // AUTH_FAILED
  49: 'NOT_FOUND', // NO_STORAGE_POOL
  50: 'NOT_FOUND', // NO_STORAGE_VOL
  55: 'BAD_STATE', // OPERATION_INVALID
  57: 'NOT_FOUND', // NO_INTERFACE
  67: 'UNSUPPORTED', // CONFIG_UNSUPPORTED
  68: 'DEADLINE_EXCEEDED', // OPERATION_TIMEOUT
  72: 'NOT_FOUND', // NO_DOMAIN_SNAPSHOT
  74: 'UNSUPPORTED', // ARGUMENT_UNSUPPORTED
  78: 'CANCELLED', // OPERATION_ABORTED
  80: 'NOT_FOUND', // NO_DOMAIN_METADATA
  83: 'BAD_STATE', // BLOCK_COPY_ACTIVE
  84: 'UNSUPPORTED', // OPERATION_UNSUPPORTED
  86: 'BAD_STATE', // AGENT_UNRESPONSIVE
  87: 'RESOURCE_BUSY', // RESOURCE_BUSY
  88: 'PERMISSION_DENIED', // ACCESS_DENIED
  90: 'ALREADY_EXISTS', // STORAGE_VOL_EXIST
  91: 'UNSUPPORTED', // CPU_INCOMPATIBLE
  99: 'NOT_FOUND', // DEVICE_MISSING
  103: 'NOT_FOUND', // NO_DOMAIN_CHECKPOINT
};

/** errno of a SYSTEM_ERROR, where it says more than "internal". */
const REASON_OF_ERRNO: Readonly<Record<number, Reason>> = {
  12: 'NO_CAPACITY', // ENOMEM
  13: 'PERMISSION_DENIED', // EACCES
  16: 'RESOURCE_BUSY', // EBUSY
  28: 'DISK_FULL', // ENOSPC
  122: 'DISK_FULL', // EDQUOT
};

const reasonOf = (e: RemoteError): Reason =>
  (e.code === CODE.systemError ? REASON_OF_ERRNO[e.int1] : REASON_OF[e.code]) ?? 'INTERNAL';

/** XML errors bring the source line and a caret on further lines; people get the first one. */
const firstLine = (text: string): string => text.split('\n', 1)[0]?.trim() ?? '';

/** @param what what was tried, as in "start domain web". */
export function fromRemote(e: RemoteError, what: string): ClusterError {
  const words = firstLine(e.message ?? '') || `error ${e.code}`;
  return new ClusterError(reasonOf(e), `libvirt could not ${what}: ${words}`, {
    libvirtCode: String(e.code),
    libvirtDomain: String(e.domain),
    ...(e.code === CODE.systemError ? { errno: String(e.int1) } : {}),
  });
}

/** Whether `e` came from libvirt with one of these numbers. */
export const hasCode = (e: unknown, ...codes: number[]): boolean =>
  e instanceof ClusterError && codes.some((code) => e.meta['libvirtCode'] === String(code));

/** The request left; whether it took effect is not known. */
export const outcomeUnknown = (what: string, why: string): ClusterError =>
  new ClusterError('HYPERVISOR_UNAVAILABLE', `cannot tell whether libvirt did "${what}": ${why}`, { phase: 'unknown' });

/** The request never left, so nothing happened. */
export const neverSent = (what: string, why: string): ClusterError =>
  new ClusterError('HYPERVISOR_UNAVAILABLE', `could not ask libvirt to ${what}: ${why}`, { phase: 'before-send' });

/** libvirt still has not answered; the connection lives, and the outcome is as unknown as if it had died. */
export const deadlinePassed = (what: string, deadlineMs: number): ClusterError =>
  new ClusterError(
    'HYPERVISOR_UNAVAILABLE',
    `cannot tell whether libvirt did "${what}": no answer within ${deadlineMs} ms`,
    { phase: 'unknown', deadline: 'passed' },
  );

export const isDeadline = (e: unknown): boolean => e instanceof ClusterError && e.meta['deadline'] === 'passed';
