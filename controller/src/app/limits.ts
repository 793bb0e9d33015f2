/**
 * How much one caller may ask for: requests a second (a bucket that refills), streams at once. What is over the limit is refused
 * with the time after which it is worth asking again; others notice nothing. Per user, so that more tokens are not more room.
 * Jobs under way are bounded where they are started (jobs/engine/start.ts).
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';

export interface CallerLimits {
  readonly requestsPerSecond: number;
  /** So many at once after a pause. */
  readonly burst: number;
  readonly streams: number;
}

interface Bucket {
  left: number;
  atMs: number;
  streams: number;
}

/** Buckets that are full again are forgotten when there are so many. */
const MOST_BUCKETS = 10_000;
const STREAM_RETRY_MS = 5_000;

export class Limits {
  readonly #buckets = new Map<string, Bucket>();

  constructor(
    private readonly most: CallerLimits,
    private readonly clock: Pick<Clock, 'monotonic'>,
  ) {}

  /** Takes one request out of the caller's bucket. RATE_LIMITED when it is empty. */
  request(user: string): void {
    const bucket = this.#of(user);
    if (bucket.left >= 1) return void bucket.left--;
    const waitMs = Math.ceil(((1 - bucket.left) / this.most.requestsPerSecond) * 1_000);
    throw tooMany(
      `${user} asks for more than ${this.most.requestsPerSecond} requests a second`,
      'ask less often, or for more at once',
      waitMs,
    );
  }

  /** @returns what gives the stream back. RATE_LIMITED when the caller has as many as it may. */
  stream(user: string): () => void {
    const bucket = this.#of(user);
    if (bucket.streams >= this.most.streams)
      throw tooMany(`${user} has ${bucket.streams} streams open`, 'close some', STREAM_RETRY_MS);
    bucket.streams++;
    return () => void bucket.streams--;
  }

  #of(user: string): Bucket {
    const nowMs = this.clock.monotonic();
    const known = this.#buckets.get(user);
    if (known === undefined) return this.#begin(user, nowMs);
    const refilled = known.left + ((nowMs - known.atMs) / 1_000) * this.most.requestsPerSecond;
    known.left = Math.min(this.most.burst, refilled);
    known.atMs = nowMs;
    return known;
  }

  #begin(user: string, nowMs: number): Bucket {
    if (this.#buckets.size >= MOST_BUCKETS) this.#forget(nowMs);
    const made = { left: this.most.burst, atMs: nowMs, streams: 0 };
    this.#buckets.set(user, made);
    return made;
  }

  #forget(nowMs: number): void {
    const fullAfterMs = (this.most.burst / this.most.requestsPerSecond) * 1_000;
    for (const [user, b] of this.#buckets)
      if (b.streams === 0 && nowMs - b.atMs > fullAfterMs) this.#buckets.delete(user);
  }
}

const tooMany = (what: string, advice: string, waitMs: number): ClusterError =>
  new ClusterError('RATE_LIMITED', `${what}: ${advice}, and try again in ${Math.max(1, Math.ceil(waitMs / 1_000))} s`, {
    retryAfterMs: String(waitMs),
  });
