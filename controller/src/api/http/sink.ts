/** Writing a stream to a caller who may be slow, or gone: bounded, and never waited for longer than its limit. */
import type { ServerResponse } from 'node:http';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';

export interface StreamLimits {
  /** Between two signs of life on a quiet stream. */
  readonly heartbeatMs: number;
  /** How long a caller may read nothing of what is ready for it. */
  readonly slowMs: number;
}

/** How long the last word may take to reach a caller who is cut off. */
const LAST_WORD_MS = 2_000;

export class Sink {
  #heartbeat: Timer | undefined;
  #full = false;

  constructor(
    private readonly res: ServerResponse,
    private readonly limits: StreamLimits,
    private readonly clock: Clock,
  ) {}

  /** Writes `text` whenever nothing else was written for a while. */
  beat(text: string): void {
    this.#heartbeat?.cancel();
    this.#heartbeat = this.clock.after(this.limits.heartbeatMs, () => {
      if (!this.#full && !this.res.destroyed) this.res.write(text);
      this.beat(text);
    });
  }

  /** Resolves when there is room for more, or `signal` aborts. DEADLINE_EXCEEDED when the caller does not read. */
  async write(data: string | Uint8Array, signal: AbortSignal): Promise<void> {
    if (this.res.destroyed || this.res.write(data)) return;
    this.#full = true;
    try {
      await this.#room(signal);
    } finally {
      this.#full = false;
    }
  }

  /** @param last what to say to a caller who still reads. */
  end(last = ''): void {
    this.#heartbeat?.cancel();
    if (this.res.destroyed) return;
    const cut = this.clock.after(LAST_WORD_MS, () => this.res.destroy());
    this.res.once('close', () => cut.cancel());
    this.res.end(last);
  }

  /** The caller must not take what it has for the whole. */
  break(): void {
    this.#heartbeat?.cancel();
    this.res.destroy();
  }

  #room(signal: AbortSignal): Promise<void> {
    const { res, clock, limits } = this;
    return new Promise((resolve, reject) => {
      const done = (act: () => void) => {
        late.cancel();
        res.off('drain', go).off('close', go);
        signal.removeEventListener('abort', go);
        act();
      };
      const go = () => done(resolve);
      const late = clock.after(limits.slowMs, () => done(() => reject(tooSlow(limits.slowMs))));
      res.once('drain', go).once('close', go);
      signal.addEventListener('abort', go, { once: true });
      if (signal.aborted) go();
    });
  }
}

const tooSlow = (ms: number): ClusterError =>
  new ClusterError(
    'DEADLINE_EXCEEDED',
    `you have read nothing for ${Math.round(ms / 1000)} s: come again, and go on after the last event that you saw`,
  );
