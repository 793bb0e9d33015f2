/** Looks that start a process, made seldom: what is well stays so for a while, what is not is looked at each time. */
import type { Clock } from '@berth/shared/runtime/clock.ts';

const KEPT_MS = 600_000;

/** @returns looks, unless what it found in the last ten minutes was well and may be told again. */
export function seldom<T>(
  look: () => Promise<T>,
  isWell: (found: T) => boolean,
  clock: Pick<Clock, 'monotonic'>,
): (mayBeOld: boolean) => Promise<T> {
  let known: { readonly found: T; readonly atMs: number } | undefined;
  return async (mayBeOld) => {
    if (mayBeOld && known !== undefined && isWell(known.found) && clock.monotonic() - known.atMs < KEPT_MS)
      return known.found;
    const atMs = clock.monotonic();
    const found = await look();
    known = { found, atMs };
    return found;
  };
}
