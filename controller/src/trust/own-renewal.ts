/** Renews the controller's own certificate while it runs, and has the CAs replaced when they are due. Hosts are keeper.ts's. */
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { Trust } from './identity.ts';

const SOONEST_MS = 500;
/** Timers do not follow a clock that is set, so the clock is looked at now and then. */
const LATEST_MS = 60_000;

export class OwnRenewal {
  private timer: Timer | undefined;
  private stopped = false;

  constructor(
    private readonly trust: Pick<Trust, 'ownIsDue' | 'renewOwn' | 'renewAtMs' | 'caIsDue'>,
    private readonly clock: Clock,
    private readonly log: Log,
    /** Begins to replace the CAs. */
    private readonly rotate: () => Promise<unknown>,
  ) {}

  start(): void {
    const ms = Math.min(LATEST_MS, Math.max(SOONEST_MS, this.trust.renewAtMs - this.clock.now()));
    this.timer = this.clock.after(ms, () => void this.look());
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  private async look(): Promise<void> {
    try {
      if (this.trust.ownIsDue(this.clock.now())) {
        await this.trust.renewOwn(this.clock.now());
        this.log.info({ renewsAtMs: this.trust.renewAtMs }, "the controller's certificate was renewed");
      }
      if (this.trust.caIsDue(this.clock.now())) await this.rotate();
    } catch (e) {
      this.log.error({ err: e }, 'what the controller proves could not be renewed');
    }
    if (!this.stopped) this.start();
  }
}
