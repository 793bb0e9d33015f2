/** Numbers at the border: 64-bit integers are bigint on the wire and numbers inside. Pure. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';

export const toWire = (n: number | undefined): bigint => BigInt(Math.max(0, Math.floor(n ?? 0)));

/** INVALID_ARGUMENT beyond what a number can hold exactly. */
export function fromWire(field: string, n: bigint): number {
  if (n > BigInt(Number.MAX_SAFE_INTEGER)) throw invalidArgument(`${field} is too large`);
  return Number(n);
}
