/**
 * How often something may be done for each of many: a few times at once, then at a steady pace. In memory; says how long to
 * wait, and waits for nobody.
 */
import type { Clock } from '@berth/shared/runtime/clock.ts';

interface Left {
  times: number;
  atMs: number;
}

/** As many are remembered before those are forgotten that may do all again. */
const MANY = 10_000;

export class Pace<K> {
  private readonly known = new Map<K, Left>();

  /** @param everyMs after `atOnce` times. */
  constructor(
    private readonly clock: Pick<Clock, 'monotonic'>,
    private readonly atOnce: number,
    private readonly everyMs: number,
  ) {}

  /** Milliseconds until `key` may; 0: now, and that counts. */
  take(key: K): number {
    const left = this.leftOf(key);
    if (left.times < 1) return Math.ceil((1 - left.times) * this.everyMs);
    this.known.set(key, { ...left, times: left.times - 1 });
    if (this.known.size > MANY) this.forget();
    return 0;
  }

  private leftOf(key: K): Left {
    const nowMs = this.clock.monotonic();
    const { times, atMs } = this.known.get(key) ?? { times: this.atOnce, atMs: nowMs };
    return { times: Math.min(this.atOnce, times + (nowMs - atMs) / this.everyMs), atMs: nowMs };
  }

  private forget(): void {
    for (const key of [...this.known.keys()]) if (this.leftOf(key).times >= this.atOnce) this.known.delete(key);
  }
}
