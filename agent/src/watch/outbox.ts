/**
 * What one stream has still to send: the newest item per object, in the order of change. Bounded: when it overflows it is
 * emptied, and the stream sends a new snapshot instead.
 */
import type { WatchItem } from './items.ts';

export class Outbox {
  private readonly items = new Map<string, WatchItem>();
  private overflowed = false;

  constructor(private readonly limit: number) {}

  put(key: string, item: WatchItem): void {
    if (this.overflowed) return;
    this.items.delete(key);
    this.items.set(key, item);
    if (this.items.size <= this.limit) return;
    this.items.clear();
    this.overflowed = true;
  }

  take(): WatchItem | undefined {
    for (const [key, item] of this.items) {
      this.items.delete(key);
      return item;
    }
    return undefined;
  }

  get needsSnapshot(): boolean {
    return this.overflowed;
  }

  /** A snapshot is being taken now: what is queued is in it. */
  clear(): void {
    this.items.clear();
    this.overflowed = false;
  }
}
