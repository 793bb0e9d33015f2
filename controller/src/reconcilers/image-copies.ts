/**
 * Cleans up copies of images that hosts do not need any more, and what was captured to clone VMs: looks now and then, and starts jobs
 * for what may go. What may go is app/prune.ts's to say. Nothing is done for a controller that was told never to.
 */
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { Prune } from '../app/prune.ts';
import type { State } from '../state/state.ts';

export interface ImageCopiesDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly log: Log;
  /** Infinity: only where room is short. */
  readonly unusedMs: number;
}

const EVERY_MS = 60_000;

export class ImageCopiesKeeper {
  private timer: Timer | undefined;
  private stopped = false;

  constructor(private readonly deps: ImageCopiesDeps) {}

  /** @returns a function that ends it. */
  start(): () => void {
    this.plan();
    return () => {
      this.stopped = true;
      this.timer?.cancel();
    };
  }

  private plan(): void {
    if (this.stopped) return;
    this.timer = this.deps.clock.after(EVERY_MS, () => {
      void this.look()
        .catch((e: unknown) => this.deps.log.warn({ err: e }, 'copies of images could not be cleaned up'))
        .finally(() => this.plan());
    });
  }

  /** Idempotent. */
  async look(): Promise<void> {
    const prune = new Prune(this.deps);
    await prune.note();
    await prune.hidden('berth');
    await prune.run({ unusedMs: this.deps.unusedMs, dryRun: false }, 'berth');
  }
}
