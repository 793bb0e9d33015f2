/** Calls once when nothing has touched it for a while. */
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';

export interface IdleCutter {
  touch(): void;
  stop(): void;
}

/** One timer per period however often it is touched: touching must cost nothing on a fast stream. */
export function idleCutter(clock: Clock, idleMs: number, cut: () => void): IdleCutter {
  let last = clock.monotonic();
  let timer: Timer;
  const arm = (ms: number): void => {
    timer = clock.after(ms, () => {
      const left = last + idleMs - clock.monotonic();
      if (left > 0) arm(left);
      else cut();
    });
  };
  arm(idleMs);
  return { touch: () => void (last = clock.monotonic()), stop: () => timer.cancel() };
}
