/** What is known about running jobs only while the process lives: tries, progress, abort signals. */
import type { HostId, JobId } from '@berth/shared/model/ids.ts';

export interface Progress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** One job's memory. */
export class LiveJob {
  readonly progress = new Map<string, Progress>();
  readonly alarmed = new Set<string>();
  /** Of its remote steps. */
  readonly notes = new Map<string, unknown>();
  /** Of the call that is under way. */
  abort = new AbortController();
  /** A call forwards is under way: a cancel aborts it. */
  running = false;
  /** The host that the current wait is about. */
  waitsForHost: HostId | undefined;
  readonly #tries = new Map<string, number>();
  readonly #errors = new Map<string, number>();
  readonly #since = new Map<string, number>();

  /** When this was first asked for the same thing: `nowMs` the first time. */
  since(what: string, nowMs: number): number {
    const first = this.#since.get(what) ?? nowMs;
    this.#since.set(what, first);
    return first;
  }

  /** Counts a try of a step (or of its undo) and says which it is. */
  nextTry(step: string): number {
    const n = (this.#tries.get(step) ?? 0) + 1;
    this.#tries.set(step, n);
    return n;
  }
  /** Counts errors in a row. */
  nextError(step: string): number {
    const n = (this.#errors.get(step) ?? 0) + 1;
    this.#errors.set(step, n);
    return n;
  }
  clearErrors(step: string): void {
    this.#errors.delete(step);
  }
}

export class LiveJobs {
  readonly #jobs = new Map<JobId, LiveJob>();

  of(jobId: JobId): LiveJob {
    const live = this.#jobs.get(jobId) ?? new LiveJob();
    this.#jobs.set(jobId, live);
    return live;
  }
  find(jobId: JobId): LiveJob | undefined {
    return this.#jobs.get(jobId);
  }
  forget(jobId: JobId): void {
    this.#jobs.delete(jobId);
  }
  *waitingFor(hostId: HostId): IterableIterator<JobId> {
    for (const [jobId, live] of this.#jobs) if (live.waitsForHost === hostId) yield jobId;
  }
}
