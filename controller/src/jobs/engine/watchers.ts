/** Who watches which job. Changes are coalesced: a slow watcher sees the newest state, never a queue of old ones. */
import type { JobId } from '@berth/shared/model/ids.ts';
import type { State } from '../../state/state.ts';

export interface Changes {
  /** True at the next change (or at once, when there was one since); false when stopped. */
  next(): Promise<boolean>;
  stop(): void;
}

export class Watchers {
  readonly #watchers = new Map<JobId, Set<Watcher>>();
  readonly #unsubscribe: () => void;

  constructor(state: State) {
    this.#unsubscribe = state.subscribe((change) => {
      if (this.#watchers.size === 0) return;
      const ids = new Set([...(change.touched.get('jobs') ?? []), ...change.jobLogs] as JobId[]);
      for (const id of ids) {
        this.changed(id);
        // those who wait for it show how far it is
        for (const waiter of state.tables.jobs.get(id)?.waiters ?? []) this.changed(waiter);
      }
    });
  }

  of(jobId: JobId): Changes {
    const all = this.#watchers.get(jobId) ?? new Set();
    this.#watchers.set(jobId, all);
    const watcher = new Watcher(() => {
      all.delete(watcher);
      if (all.size === 0) this.#watchers.delete(jobId);
    });
    all.add(watcher);
    return watcher;
  }

  changed(jobId: JobId): void {
    for (const w of this.#watchers.get(jobId) ?? []) w.changed();
  }

  close(): void {
    this.#unsubscribe();
    for (const all of [...this.#watchers.values()]) for (const w of [...all]) w.stop();
  }
}

class Watcher implements Changes {
  #dirty = false;
  #stopped = false;
  #wake: (() => void) | undefined;

  constructor(private readonly onStop: () => void) {}

  async next(): Promise<boolean> {
    if (!this.#dirty && !this.#stopped) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#dirty = false;
    return !this.#stopped;
  }
  changed(): void {
    this.#dirty = true;
    this.#wake?.();
  }
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#wake?.();
    this.onStop();
  }
}
