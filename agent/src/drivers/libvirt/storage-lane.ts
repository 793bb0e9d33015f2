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
  /** For refusals: the pool's name. */
  readonly name: () => string;
}

export class StorageLane {
  #connection: Promise<Connection> | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  #asked = 0;
  /** Since when (monotonic) a call is out that passed its deadline. */
  #silentSince: number | undefined;

  constructor(readonly opts: LaneOptions) {}

  get silentMs(): number | undefined {
    return this.#silentSince === undefined ? undefined : this.opts.clock.monotonic() - this.#silentSince;
  }

  /** Something was asked that is not answered. */
  get busy(): boolean {
    return this.#asked > 0;
  }

  /** @throws BAD_STATE at once while the pool is silent, or at the deadline. */
  async call<A, R>(procedure: Procedure<A, R>, args: A, what: string, deadlineMs: number): Promise<R> {
    if (this.#silentSince !== undefined) throw this.#silent(what);
    const turn = this.#tail;
    const answer = turn.then(async () => {
      if (this.#silentSince !== undefined) throw this.#silent(what);
      return (await this.#connected()).call(procedure, args, what);
    });
    this.#asked++;
    this.#tail = answer.catch(() => undefined).finally(() => this.#asked--);
    return beforeDeadline(this.opts.clock, answer, deadlineMs, () => {
      this.#silentSince ??= this.opts.clock.monotonic();
      const well = (): void => void (this.#silentSince = undefined);
      this.#tail.then(well, well);
      return this.#silent(what);
    });
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
      'BAD_STATE',
      `libvirt could not ${what}: pool ${this.opts.name()} does not answer. Look whether its server is up and can be reached`,
      { silent: 'true' },
    );
  }
}
