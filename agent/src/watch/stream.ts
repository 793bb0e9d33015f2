/**
 * One watch: a snapshot, then deltas, a heartbeat when nothing else was sent, and statistics that never go before an
 * event. Sends one item at a time and waits for room; what changes meanwhile is coalesced in the outbox.
 */
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { Hub } from './hub.ts';
import type { Sample, WatchItem } from './items.ts';
import { Outbox } from './outbox.ts';

export interface StreamDeps {
  readonly hub: Hub;
  /** @param everyMs how often it is asked now. */
  readonly sample: (everyMs: number) => Promise<Sample>;
  readonly clock: Clock;
  /** Until `setStatisticsEvery`. */
  readonly statisticsEveryMs: number;
  readonly outboxLimit?: number;
}

const HEARTBEAT_MS = 2_000;
const OUTBOX_LIMIT = 10_000;

export class WatchStream {
  private readonly outbox: Outbox;
  private sample: Sample | undefined;
  private wake: () => void = () => undefined;
  /** Undefined while statistics are being read. */
  private timer: Timer | undefined;
  private lastSentMs = 0;
  private everyMs: number;
  private sampledMs = 0;
  private ended = false;

  constructor(private readonly deps: StreamDeps) {
    this.outbox = new Outbox(deps.outboxLimit ?? OUTBOX_LIMIT);
    this.everyMs = deps.statisticsEveryMs;
  }

  /** Counted from the last statistics: when these are older already, the next come at once. */
  setStatisticsEvery(ms: number): void {
    this.everyMs = ms;
    if (this.timer !== undefined) this.planSample();
  }

  /** Ends with the signal. @param send resolves when the next item may come. */
  async run(send: (item: WatchItem) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { hub } = this.deps;
    await hub.ready();
    const detach = hub.attach((key, item) => {
      this.outbox.put(key, item);
      this.wake();
    });
    const onAbort = (): void => this.wake();
    signal.addEventListener('abort', onAbort, { once: true });
    void this.takeSample();
    try {
      await this.sendSnapshot(send, signal);
      while (!signal.aborted) await this.step(send, signal);
    } finally {
      detach();
      this.ended = true;
      this.timer?.cancel();
      this.timer = undefined;
      signal.removeEventListener('abort', onAbort);
    }
  }

  private async step(send: (item: WatchItem) => Promise<void>, signal: AbortSignal): Promise<void> {
    if (this.outbox.needsSnapshot) return this.sendSnapshot(send, signal);
    const item = this.outbox.take() ?? this.takeStatistics();
    if (item) return this.send(send, item);
    const quietMs = this.deps.clock.monotonic() - this.lastSentMs;
    if (quietMs >= HEARTBEAT_MS) return this.send(send, { type: 'heartbeat' });
    await this.waitFor(HEARTBEAT_MS - quietMs, signal);
  }

  private async sendSnapshot(send: (item: WatchItem) => Promise<void>, signal: AbortSignal): Promise<void> {
    this.outbox.clear();
    const { items, complete } = this.deps.hub.snapshot();
    await this.send(send, { type: 'begin' });
    for (const item of items) {
      if (signal.aborted) return;
      await this.send(send, item);
    }
    await this.send(send, { type: 'end', complete });
  }

  private async send(send: (item: WatchItem) => Promise<void>, item: WatchItem): Promise<void> {
    this.lastSentMs = this.deps.clock.monotonic();
    await send(item);
  }

  private waitFor(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.deps.clock.after(ms, resolve);
      this.wake = () => {
        timer.cancel();
        resolve();
      };
      if (signal.aborted) this.wake();
    });
  }

  private takeStatistics(): WatchItem | undefined {
    const { sample } = this;
    this.sample = undefined;
    return sample && { type: 'statistics', sample };
  }

  private async takeSample(): Promise<void> {
    this.timer = undefined;
    const sample = await this.deps.sample(this.everyMs).catch(() => undefined);
    if (this.ended) return;
    this.sample = sample;
    this.sampledMs = this.deps.clock.monotonic();
    this.wake();
    this.planSample();
  }

  private planSample(): void {
    const { clock } = this.deps;
    this.timer?.cancel();
    const restMs = this.sampledMs + this.everyMs - clock.monotonic();
    this.timer = clock.after(Math.max(0, restMs), () => void this.takeSample());
  }
}
