/** From the wire to our own types: 64-bit numbers, fences, contexts. Only shapes; what values mean is the services' to check. */
import type { Fence as WireFence, OperationContext } from '@berth/proto/agent/v1/operation.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Fence } from '../operations/fence.ts';

/** @throws INVALID_ARGUMENT when it is larger than any real size; −1 arrives like that. */
export function toNumber(what: string, n: bigint): number {
  if (n < 0n || n > BigInt(Number.MAX_SAFE_INTEGER)) throw invalidArgument(`${what} of ${n} is out of range`);
  return Number(n);
}

export function readFence(f: WireFence | undefined): Fence {
  if (f === undefined) throw invalidArgument('the call carries no fence (who calls, and at which epoch and revision)');
  return {
    installationId: f.installationId,
    epoch: toNumber('the epoch', f.controllerEpoch),
    revision: toNumber('the revision', f.revision),
    runId: f.runId,
    formerRunIds: f.formerRunIds,
  };
}

export const operationIdOf = (request: { readonly context: OperationContext | undefined }): string =>
  request.context?.operationId ?? '';

/** @throws INVALID_ARGUMENT when a message that must be there is missing. */
export function present<T>(what: string, value: T | undefined): T {
  if (value === undefined) throw invalidArgument(`the request has no ${what}`);
  return value;
}

export const orUndefined = (s: string): string | undefined => (s === '' ? undefined : s);
