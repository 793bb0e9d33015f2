/**
 * What hosts were asked for, and when they may be asked again: after two minutes, then twice that, and so on. In memory: a
 * controller that is started anew asks at once.
 */
import type { Clock } from '@berth/shared/runtime/clock.ts';

const AGAIN_MS = 120_000;
const MOST_DOUBLINGS = 5;
const waitMs = (tries: number): number => AGAIN_MS * 2 ** Math.min(tries - 1, MOST_DOUBLINGS);

export class Asked {
  private readonly known = new Map<string, { readonly atMs: number; readonly tries: number }>();

  constructor(private readonly clock: Pick<Clock, 'monotonic'>) {}

  /** How many keys are remembered. */
  get size(): number {
    return this.known.size;
  }

  /** @param key what, and of which host */
  due(key: string): boolean {
    const before = this.known.get(key);
    return before === undefined || this.clock.monotonic() - before.atMs > waitMs(before.tries);
  }

  note(key: string): void {
    const tries = (this.known.get(key)?.tries ?? 0) + 1;
    this.known.set(key, { atMs: this.clock.monotonic(), tries });
  }

  /** Forgets what nobody has been asked for lately: agents may tell of ever new things. */
  tidy(): void {
    const now = this.clock.monotonic();
    for (const [key, { atMs, tries }] of this.known) if (now - atMs > 2 * waitMs(tries)) this.known.delete(key);
  }
}
