/** Looks again and again, one look at a time, sooner when there is reason to. Knows nothing of what is looked at. */
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';

export interface LooksDeps {
  readonly clock: Clock;
  readonly log: Log;
}

export class Looks {
  private timer: Timer | undefined;
  private looking = false;
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

  soon(ms: number): void {
    if (this.ended) return;
    this.timer?.cancel();
    this.timer = this.deps.clock.after(ms, () => void this.now().finally(() => this.soon(this.everyMs)));
  }

  /** Never rejects. Nothing while another look is under way. */
  async now(): Promise<void> {
    if (this.looking) return;
    this.looking = true;
    try {
      await this.look();
    } catch (e) {
      this.deps.log.warn({ err: e }, this.failed);
    } finally {
      this.looking = false;
    }
  }
}
