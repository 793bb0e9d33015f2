/**
 * Watches a carried connection for a peer that has fallen silent. It does not understand what is carried, so it knows
 * two things only: the peer owes an answer (it was sent something since it last spoke), or nobody has said anything.
 * Decides; tunnel.ts acts.
 */
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';

/** `owes`: sent something, said nothing since. `quiet`: spoke last, perhaps in the middle of an answer, perhaps it has nothing to say. */
export type Silence = 'owes' | 'quiet';

export interface SilenceWatch {
  heard(): void;
  said(): void;
  stop(): void;
}

export interface SilenceOptions {
  readonly clock: Clock;
  readonly silentMs: number;
  /** True while the peer cannot be blamed, because what it sent is not being taken from us. */
  readonly excused: () => boolean;
  readonly onSilent: (kind: Silence) => void;
}

/** A tick that comes later than this factor was not waited for: this process was stopped meanwhile, not the peer. */
const LATE = 2;
const TICKS = 4;

export function watchSilence(options: SilenceOptions): SilenceWatch {
  const { clock, silentMs } = options;
  const periodMs = Math.max(1, Math.floor(silentMs / TICKS));
  let owes = true;
  let since = clock.monotonic();
  let tickAt = since;
  let timer: Timer;
  const tick = (): void => {
    const now = clock.monotonic();
    const overslept = now - tickAt > periodMs * LATE;
    tickAt = now;
    if (overslept || options.excused()) since = now;
    if (now - since >= silentMs) return options.onSilent(owes ? 'owes' : 'quiet');
    timer = clock.after(periodMs, tick);
  };
  timer = clock.after(periodMs, tick);
  return {
    heard: () => {
      owes = false;
      since = clock.monotonic();
    },
    said: () => {
      if (owes) return;
      owes = true;
      since = clock.monotonic();
    },
    stop: () => timer.cancel(),
  };
}
