/** What is known about running jobs only while the process lives: tries, progress, abort signals, turns at hosts. */
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

/**
 * Turns at hosts: at most so many calls of jobs at one host at a time. There is no bound over all hosts, so a silent
 * host holds up nobody but its own jobs.
 */
export class Turns {
  readonly #hosts = new Map<HostId, { busy: number; queue: (() => void)[] }>();

  constructor(private readonly perHost: number) {}

  /** Resolves with the function that ends the turn; rejects when aborted before its turn has come. */
  async take(hostId: HostId | undefined, signal: AbortSignal): Promise<() => void> {
    if (hostId === undefined) return () => {};
    const host = this.#hosts.get(hostId) ?? { busy: 0, queue: [] };
    this.#hosts.set(hostId, host);
    if (host.busy < this.perHost) host.busy++;
    else await queued(host.queue, signal);
    return () => this.#leave(hostId, host);
  }

  #leave(hostId: HostId, host: { busy: number; queue: (() => void)[] }): void {
    const next = host.queue.shift();
    if (next) return next();
    host.busy--;
    if (host.busy === 0) this.#hosts.delete(hostId);
  }
}

function queued(queue: (() => void)[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      queue.splice(queue.indexOf(turn), 1);
      reject(new Error('aborted before its turn'));
    };
    const turn = (): void => {
      signal.removeEventListener('abort', leave);
      resolve();
    };
    queue.push(turn);
    signal.addEventListener('abort', leave, { once: true });
  });
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
