/**
 * How much of this host strangers and peers may take: unproven connections in all and per address, and attempts per
 * minute and name. Counts only; port.ts closes what is over the limit.
 */
import type { Clock } from '@berth/shared/runtime/clock.ts';

/** Things held at the same time, by key and in all. */
export class Slots {
  private readonly held = new Map<string, number>();
  private total = 0;

  constructor(
    private readonly maxTotal: number,
    private readonly maxPerKey: number,
  ) {}

  /** Undefined when there is no room; otherwise gives the slot back, once. */
  take(key: string): (() => void) | undefined {
    const mine = this.held.get(key) ?? 0;
    if (this.total >= this.maxTotal || mine >= this.maxPerKey) return undefined;
    this.held.set(key, mine + 1);
    this.total += 1;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.give(key);
    };
  }

  get size(): number {
    return this.total;
  }

  private give(key: string): void {
    this.total -= 1;
    const left = (this.held.get(key) ?? 1) - 1;
    if (left > 0) this.held.set(key, left);
    else this.held.delete(key);
  }
}

const WINDOW_MS = 60_000;

/** At most so many attempts per key within any window of a minute's grid. */
export class Rate {
  private windowStart = 0;
  private readonly counts = new Map<string, number>();

  constructor(
    private readonly clock: Clock,
    private readonly perMinute: number,
  ) {}

  allow(key: string): boolean {
    const now = this.clock.monotonic();
    if (now - this.windowStart >= WINDOW_MS) {
      this.windowStart = now;
      this.counts.clear();
    }
    const n = (this.counts.get(key) ?? 0) + 1;
    this.counts.set(key, n);
    return n <= this.perMinute;
  }
}
