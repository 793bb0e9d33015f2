/** Asks again when the controller says that this caller asks for too much: after the time that it names, and not for ever. */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';

const LEAST_MS = 100;
const MOST_MS = 10_000;
const PATIENCE_MS = 120_000;

export async function patiently<T>(ask: () => Promise<T>, clock: Pick<Clock, 'monotonic' | 'sleep'>): Promise<T> {
  const end = clock.monotonic() + PATIENCE_MS;
  for (let tries = 0; ; tries++) {
    try {
      return await ask();
    } catch (e) {
      if (!isClusterError(e, 'RATE_LIMITED') || clock.monotonic() > end) throw e;
      // longer each time: many names at once would otherwise all come back in the same moment
      const told = Math.max(LEAST_MS, Number(e.meta['retryAfterMs'] ?? 0));
      await clock.sleep(Math.min(MOST_MS, told * 2 ** Math.min(tries, 6)));
    }
  }
}
