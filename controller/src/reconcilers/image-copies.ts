/**
 * Cleans up copies of images that hosts do not need any more, and what was captured to clone VMs: looks now and then, and starts jobs
 * for what may go. What may go is app/prune.ts's to say. Nothing is done for a controller that was told never to.
 */
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { Prune } from '../app/prune.ts';
import type { State } from '../state/state.ts';
import { Looks } from './looks.ts';

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
  constructor(private readonly deps: ImageCopiesDeps) {}

  /** @returns a function that ends it. */
  start(): () => void {
    return new Looks(this.deps, EVERY_MS, () => this.look(), 'copies of images could not be cleaned up').begin();
  }

  /** Idempotent. */
  async look(): Promise<void> {
    const prune = new Prune(this.deps);
    await prune.note();
    await prune.hidden('berth');
    await prune.run({ unusedMs: this.deps.unusedMs, dryRun: false }, 'berth');
  }
}
