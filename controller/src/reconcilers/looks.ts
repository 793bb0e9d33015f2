/** Looks again and again, one look at a time, sooner when there is reason to. Knows nothing of what is looked at. */
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';

export interface LooksDeps {
  readonly clock: Clock;
  readonly log: Log;
}

export class Looks {
  private timer: Timer | undefined;
  /** When it goes off. */
  private dueMs = Infinity;
  private current: Promise<void> | undefined;
  private ended = false;

  /** @param failed in words, for the log */
  constructor(
    private readonly deps: LooksDeps,
    private readonly everyMs: number,
    private readonly look: () => Promise<void>,
    private readonly failed: string,
  ) {}

  /** @returns a function that ends it; a look that is under way ends by itself, and is the last. */
  begin(): () => void {
    this.soon(this.everyMs);
    return () => {
      this.ended = true;
      this.timer?.cancel();
    };
  }

  /** One that is due sooner stays so: reasons may come faster than any of them is looked at. */
  soon(ms: number): void {
    const { clock } = this.deps;
    const dueMs = clock.monotonic() + ms;
    if (this.ended || dueMs >= this.dueMs) return;
    this.timer?.cancel();
    this.dueMs = dueMs;
    this.timer = clock.after(ms, () => void this.goOff());
  }

  private async goOff(): Promise<void> {
    this.dueMs = Infinity;
    // what is under way may have passed by what is new
    await this.current;
    if (!this.ended) await this.now();
    this.soon(this.everyMs);
  }

  /** Never rejects. Nothing while another look is under way. */
  async now(): Promise<void> {
    if (this.current) return;
    this.current = this.once().finally(() => (this.current = undefined));
    await this.current;
  }

  private async once(): Promise<void> {
    try {
      await this.look();
    } catch (e) {
      this.deps.log.warn({ err: e }, this.failed);
    }
  }
}
