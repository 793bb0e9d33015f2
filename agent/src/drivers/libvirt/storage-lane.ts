/**
 * The way to one storage pool: a connection of its own, one call at a time. libvirt asks servers of storage while it holds the
 * pool, and one that is gone (NFS) swallows the call: then the pool is silent, nobody else waits, and no second call is sent into
 * it, because each would take another of libvirt's few workers. It is well again when that call is answered.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Connection } from './connection.ts';
import { beforeDeadline } from './pool.ts';
import type { Procedure } from './procedures.ts';

export interface LaneOptions {
  readonly clock: Clock;
  dial(): Promise<Connection>;
  /** For refusals: `pool a`. */
  readonly name: () => string;
}

/** A call that has not left yet. */
interface Waiting {
  readonly begin: () => void;
  readonly giveUp: () => void;
}

export class StorageLane {
  #connection: Promise<Connection> | undefined;
  #isAsking = false;
  #waiting: Waiting[] = [];
  /** Since when (monotonic) a call is out that passed its deadline. */
  #silentSince: number | undefined;

  constructor(readonly opts: LaneOptions) {}

  get silentMs(): number | undefined {
    return this.#silentSince === undefined ? undefined : this.opts.clock.monotonic() - this.#silentSince;
  }

  /** Something was asked that is not answered. */
  get busy(): boolean {
    return this.#isAsking;
  }

  /**
   * @param deadlineMs from when it leaves: one that waits for another that takes long is not late
   * @throws STORAGE_UNAVAILABLE at once while the pool is silent, or at the deadline, also at that of the one before it
   */
  async call<A, R>(procedure: Procedure<A, R>, args: A, what: string, deadlineMs: number): Promise<R> {
    await this.#turn(what);
    const answer = this.#connected().then((c) => c.call(procedure, args, what));
    const over = (): void => {
      this.#silentSince = undefined;
      this.#next();
    };
    answer.then(over, over);
    return beforeDeadline(this.opts.clock, answer, deadlineMs, () => this.#fallSilent(what));
  }

  async #turn(what: string): Promise<void> {
    if (this.#silentSince !== undefined) throw this.#silent(what);
    if (this.#isAsking)
      await new Promise<void>((resolve, reject) =>
        this.#waiting.push({ begin: resolve, giveUp: () => reject(this.#silent(what)) }),
      );
    this.#isAsking = true;
  }

  #next(): void {
    const next = this.#waiting.shift();
    if (next) next.begin();
    else this.#isAsking = false;
  }

  #fallSilent(what: string): ClusterError {
    this.#silentSince = this.opts.clock.monotonic();
    for (const { giveUp } of this.#waiting.splice(0)) giveUp();
    return this.#silent(what);
  }

  close(why: string): void {
    this.#connection?.then(
      (c) => c.close(why),
      () => undefined,
    );
    this.#connection = undefined;
  }

  #connected(): Promise<Connection> {
    const made = (this.#connection ??= this.opts.dial());
    const drop = (): void => {
      if (this.#connection === made) this.#connection = undefined;
    };
    made.then((c) => c.onClose(drop), drop);
    return made;
  }

  #silent(what: string): ClusterError {
    return new ClusterError(
      'STORAGE_UNAVAILABLE',
      `libvirt could not ${what}: ${this.opts.name()} does not answer. Look whether its server is up and can be reached`,
    );
  }
}
