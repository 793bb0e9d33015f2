/**
 * Keeps the main connection alive: dials, brings it up (events, resync), and dials again with jittered back-off when it
 * dies. Callers ask `ready()`. What "up" takes is given by the owner.
 */
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { Random } from '@berth/shared/runtime/random.ts';
import type { Connection } from './connection.ts';
import { neverSent } from './errors.ts';

const FIRST_DELAY_MS = 200;
const MAX_DELAY_MS = 10_000;

export interface LinkOptions {
  readonly clock: Clock;
  readonly random: Random;
  dial(): Promise<Connection>;
  /** Registers events and reads everything; the link is up when it resolves. */
  bringUp(connection: Connection): Promise<void>;
  onUp(): void;
  /** Only after onUp. */
  onDown(why: string): void;
  onAttemptFailed(why: string): void;
}

export class Link {
  #connection: Connection | undefined;
  #attempt: Promise<void>;
  #attempting = true;
  #failures = 0;
  #why = 'not connected yet';
  #timer: Timer | undefined;
  #closed = false;

  constructor(readonly opts: LinkOptions) {
    this.#attempt = this.#connect();
  }

  get isUp(): boolean {
    return this.#connection !== undefined;
  }

  /** Resolves when the link is up; waits for an attempt under way, but not for the next one. */
  async ready(what: string): Promise<void> {
    if (this.#attempting) await this.#attempt;
    if (!this.isUp) throw neverSent(what, this.#why);
  }

  close(): void {
    this.#closed = true;
    this.#why = 'the driver is closed';
    this.#timer?.cancel();
    this.#connection?.close(this.#why);
  }

  async #connect(): Promise<void> {
    this.#attempting = true;
    try {
      const connection = await this.opts.dial();
      if (this.#closed) return connection.close(this.#why);
      await this.#bringUp(connection);
    } catch (e) {
      if (!this.#closed) this.opts.onAttemptFailed((this.#why = e instanceof Error ? e.message : String(e)));
      this.#retryLater();
    } finally {
      this.#attempting = false;
    }
  }

  async #bringUp(connection: Connection): Promise<void> {
    try {
      await this.opts.bringUp(connection);
    } catch (e) {
      connection.close('bringing the connection up failed');
      throw e;
    }
    if (connection.closedWhy !== undefined) throw neverSent('connect', connection.closedWhy);
    this.#connection = connection;
    this.#failures = 0;
    connection.onClose((why) => this.#onLost(why));
    this.opts.onUp();
  }

  #onLost(why: string): void {
    this.#connection = undefined;
    if (this.#closed) return;
    this.#why = why;
    this.opts.onDown(why);
    this.#retryLater();
  }

  #retryLater(): void {
    if (this.#closed) return;
    const ceiling = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures++);
    const delayMs = Math.ceil(ceiling * (0.5 + this.opts.random.next() / 2));
    this.#timer = this.opts.clock.after(delayMs, () => (this.#attempt = this.#connect()));
  }
}
