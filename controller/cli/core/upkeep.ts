/**
 * Keeps a context good for the next command: the CA that it pins, and its client certificate. Looks when a command ends, and
 * from time to time while a long one runs. Never a reason for a command to fail.
 */
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { Api } from './api.ts';
import { renew } from './client-certificate.ts';
import type { ConfigStore } from './config.ts';
import { followCa } from './follow-ca.ts';

export interface UpkeepOptions {
  readonly api: Api;
  readonly store: ConfigStore;
  /** Of the context. */
  readonly name: string;
  readonly clock: Clock;
}

const SOONEST_MS = 500;
/** Timers do not follow a clock that is set, nor a laptop that slept. */
const LATEST_MS = 60_000;
/** A command that has done its work does not wait longer for this. */
const PATIENCE_MS = 5_000;

export class Upkeep {
  #timer: Timer | undefined;
  #ended = false;

  constructor(private readonly o: UpkeepOptions) {
    this.#later();
  }

  /** When the command is done: looks for the last time. */
  async end(): Promise<void> {
    this.#ended = true;
    this.#timer?.cancel();
    const { api, clock } = this.o;
    // without an answer there is nobody to ask
    if (api.toldCa() === undefined) return;
    const patience = new AbortController();
    const waited = clock.sleep(PATIENCE_MS, patience.signal).catch(() => undefined);
    await Promise.race([this.#look(), waited]);
    patience.abort();
  }

  #later(): void {
    const renewsAtMs = this.o.api.endpoint().client?.renewsAtMs;
    if (this.#ended || renewsAtMs === undefined) return;
    const ms = Math.min(LATEST_MS, Math.max(SOONEST_MS, renewsAtMs - this.o.clock.now()));
    this.#timer = this.o.clock.after(ms, () => void this.#look().then(() => this.#later()));
  }

  async #look(): Promise<void> {
    const { api, store, name, clock } = this.o;
    try {
      await followCa(api, store, api.endpoint());
      const { client } = api.endpoint();
      const isDue = client?.renewsAtMs !== undefined && clock.now() >= client.renewsAtMs;
      if (isDue) api.use(await renew(api, store, name, api.endpoint()));
    } catch {
      // tried again soon, or by the next command, which says so when it is too late
    }
  }
}
