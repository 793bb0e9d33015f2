/**
 * Takes one Watch stream in: order checked, floods slowed by flow control, record fed. Says when the snapshot is whole and
 * when the stream can't be trusted any more. Knows nothing of states or retries.
 */
import type { ClientReadableStream } from '@grpc/grpc-js';
import type { WatchMessage } from '@berth/proto/agent/v1/watch.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { LIMITS } from './limits.ts';
import type { Applied, HostRecord } from './record.ts';

export interface IntakeEvents {
  /** Any message: a sign of life. */
  alive(): void;
  applied(what: Applied): void;
  snapshot(): void;
  /** The stream broke the rules; the caller drops the connection. */
  broken(why: string): void;
}

export class Intake {
  private expected: bigint | undefined;
  private tokens: number = LIMITS.messageBurst;
  private filledAt: number;
  private ended = false;

  constructor(
    private readonly stream: ClientReadableStream<WatchMessage>,
    private readonly hostId: string,
    private readonly record: HostRecord,
    private readonly clock: Clock,
    private readonly events: IntakeEvents,
  ) {
    this.filledAt = clock.monotonic();
    stream.on('data', (m: WatchMessage) => this.take(m));
  }

  stop(): void {
    this.ended = true;
  }

  private take(m: WatchMessage): void {
    if (this.ended) return;
    this.events.alive();
    this.slowDown();
    if (m.message === undefined) return this.follow(m.seq) ? undefined : this.break('it left out messages');
    if (m.message.$case === 'begin') {
      if (m.message.value.hostId !== this.hostId) return this.break('it reports as another host');
      this.expected = m.seq;
    }
    if (!this.follow(m.seq)) return this.break('it left out messages');
    const applied = this.record.apply(m.message, this.clock.now());
    if (m.message.$case !== 'begin' && m.message.$case !== 'heartbeat') this.events.applied(applied);
    if (m.message.$case === 'end') this.events.snapshot();
  }

  private follow(seq: bigint): boolean {
    if (seq !== this.expected) return false;
    this.expected = seq + 1n;
    return true;
  }

  private break(why: string): void {
    this.stop();
    this.events.broken(why);
  }

  private slowDown(): void {
    if (--this.tokens > 0) return;
    const now = this.clock.monotonic();
    this.tokens = Math.min(
      LIMITS.messageBurst,
      this.tokens + ((now - this.filledAt) * LIMITS.messagesPerSecond) / 1000,
    );
    this.filledAt = now;
    if (this.tokens > 0) return;
    this.stream.pause();
    this.clock.after(1_000, () => this.stream.resume());
  }
}
