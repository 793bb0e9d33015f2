/**
 * A few connections for calls of one class. libvirtd serves five calls per connection and then stops reading it, pongs
 * included, so at most four are in flight on each; the rest queue here. A call that outlives its deadline is given up
 * on and its connection retired, because libvirtd's worker stays stuck in it.
 */
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Connection } from './connection.ts';
import { deadlinePassed, neverSent } from './errors.ts';
import type { Procedure } from './procedures.ts';

const MAX_IN_FLIGHT = 4;

export interface PoolOptions {
  readonly clock: Clock;
  readonly connections: number;
  dial(): Promise<Connection>;
}

interface Lane {
  readonly connection: Promise<Connection>;
  inFlight: number;
  abandoned: number;
}

export class Pool {
  #lanes: Lane[] = [];
  readonly #queue: (() => void)[] = [];
  readonly #retired = new Set<Lane>();
  #closedWhy: string | undefined;

  constructor(readonly opts: PoolOptions) {}

  /** Calls on a free connection, waiting for one if need be. The deadline includes that wait. */
  async call<A, R>(procedure: Procedure<A, R>, args: A, what: string, deadlineMs: number): Promise<R> {
    const end = this.opts.clock.monotonic() + deadlineMs;
    const lane = await this.#acquire(what, deadlineMs);
    const late = deadlinePassed(what, deadlineMs);
    const answer = lane.connection.then((c) => c.call(procedure, args, what));
    answer.then(
      () => this.#release(lane),
      () => this.#release(lane),
    );
    return beforeDeadline(this.opts.clock, answer, end - this.opts.clock.monotonic(), () => {
      lane.abandoned++;
      this.#retire(lane);
      return late;
    });
  }

  /** Cuts all connections; calls in flight are rejected as unknown. The pool dials anew when it is used again. */
  disconnect(why: string): void {
    for (const lane of [...this.#lanes, ...this.#retired]) this.#cut(lane, why);
    this.#lanes = [];
    this.#retired.clear();
  }

  close(why: string): void {
    this.#closedWhy = why;
    this.disconnect(why);
    for (const wake of this.#queue.splice(0)) wake();
  }

  async #acquire(what: string, deadlineMs: number): Promise<Lane> {
    const end = this.opts.clock.monotonic() + deadlineMs;
    for (;;) {
      if (this.#closedWhy !== undefined) throw neverSent(what, this.#closedWhy);
      const lane = this.#lanes.find((l) => l.inFlight < MAX_IN_FLIGHT) ?? this.#open();
      if (lane !== undefined) {
        lane.inFlight++;
        if (this.#hasRoom()) this.#wakeNext(); // a new connection has room for more than the one that opened it
        return lane;
      }
      await this.#turn(what, end - this.opts.clock.monotonic());
    }
  }

  #hasRoom(): boolean {
    return this.#lanes.length < this.opts.connections || this.#lanes.some((l) => l.inFlight < MAX_IN_FLIGHT);
  }

  async #turn(what: string, waitMs: number): Promise<void> {
    let wake: () => void = () => undefined;
    const turn = new Promise<void>((resolve) => (wake = resolve));
    this.#queue.push(wake);
    await beforeDeadline(this.opts.clock, turn, waitMs, () => {
      const at = this.#queue.indexOf(wake);
      if (at >= 0) this.#queue.splice(at, 1);
      else this.#wakeNext(); // woken and late at once: the turn goes to the next
      return neverSent(what, 'too many other calls are waiting for libvirt');
    });
  }

  #open(): Lane | undefined {
    if (this.#lanes.length >= this.opts.connections) return undefined;
    const lane: Lane = { connection: this.opts.dial(), inFlight: 0, abandoned: 0 };
    this.#lanes.push(lane);
    lane.connection.then(
      (c) => c.onClose(() => this.#drop(lane)),
      () => this.#drop(lane),
    );
    return lane;
  }

  #drop(lane: Lane): void {
    this.#lanes = this.#lanes.filter((l) => l !== lane);
    this.#retired.delete(lane);
    this.#wakeNext();
  }

  /** Takes no new calls; is cut when only calls that were given up on are left. */
  #retire(lane: Lane): void {
    this.#lanes = this.#lanes.filter((l) => l !== lane);
    this.#retired.add(lane);
    this.#cutIfIdle(lane);
    this.#wakeNext();
  }

  #cutIfIdle(lane: Lane): void {
    if (!this.#retired.has(lane) || lane.inFlight > lane.abandoned) return;
    this.#retired.delete(lane);
    this.#cut(lane, 'a call on it was never answered');
  }

  #cut(lane: Lane, why: string): void {
    lane.connection.then(
      (c) => c.close(why),
      () => undefined, // could not be dialled: nothing to cut
    );
  }

  #release(lane: Lane): void {
    lane.inFlight--;
    this.#cutIfIdle(lane);
    this.#wakeNext();
  }

  #wakeNext(): void {
    this.#queue.shift()?.();
  }
}

/** Settles as `promise`, or rejects with `late()` after `ms`. What `promise` does later is ignored. */
export function beforeDeadline<T>(clock: Clock, promise: Promise<T>, ms: number, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(Math.max(0, ms), () => reject(late()));
    promise.then(
      (value) => {
        timer.cancel();
        resolve(value);
      },
      (e: unknown) => {
        timer.cancel();
        reject(e instanceof Error ? e : new Error(String(e)));
      },
    );
  });
}
