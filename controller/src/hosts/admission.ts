/**
 * Who may dial next: bounded handshakes at once and per second, so that thousands of hosts reconnect evenly after a
 * restart. Hosts that were up, or were never tried, go before those that failed, so the dead don't delay the living.
 */
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';

export interface AdmissionLimits {
  readonly perSecond: number;
  readonly atOnce: number;
}

export interface Place {
  /** Leaves the queue, or frees the slot. Twice is once. */
  leave(): void;
}

interface Waiting {
  readonly start: () => void;
  state: 'waiting' | 'dialling' | 'gone';
}

export class Admission {
  private readonly first: Waiting[] = [];
  private readonly later: Waiting[] = [];
  private dialling = 0;
  private tokens: number;
  private filledAt: number;
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly limits: AdmissionLimits,
  ) {
    this.tokens = this.burst;
    this.filledAt = clock.monotonic();
  }

  private get burst(): number {
    return Math.max(1, this.limits.perSecond / 5);
  }

  /** Calls `start` when it is this one's turn, never before this returns. */
  enter(start: () => void, promising: boolean): Place {
    const entry: Waiting = { start, state: 'waiting' };
    (promising ? this.first : this.later).push(entry);
    this.schedule(0);
    return { leave: () => this.leave(entry) };
  }

  private leave(entry: Waiting): void {
    if (entry.state === 'dialling') {
      this.dialling--;
      this.schedule(0);
    }
    entry.state = 'gone';
  }

  private schedule(ms: number): void {
    this.timer ??= this.clock.after(ms, () => {
      this.timer = undefined;
      this.admit();
    });
  }

  private admit(): void {
    const now = this.clock.monotonic();
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.filledAt) * this.limits.perSecond) / 1000);
    this.filledAt = now;
    while (this.dialling < this.limits.atOnce) {
      const next = this.take();
      if (next === undefined) return;
      this.tokens--;
      this.dialling++;
      next.state = 'dialling';
      next.start();
    }
  }

  private take(): Waiting | undefined {
    for (const queue of [this.first, this.later]) {
      while (queue[0]?.state === 'gone') queue.shift();
      if (queue.length === 0) continue;
      if (this.tokens >= 1) return queue.shift();
      this.schedule(Math.ceil(((1 - this.tokens) * 1000) / this.limits.perSecond));
      return undefined;
    }
    return undefined;
  }
}
