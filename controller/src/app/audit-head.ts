/**
 * The newest row of the audit log, kept in a file beside the database: who takes rows off the end of the log must know of
 * this file too. Written behind, a few seconds after a change; so it may be older than the log, never newer.
 */
import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import type { AuditHead } from '@berth/shared/model/audit.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { State } from '../state/state.ts';

const BEHIND_MS = 2_000;

export class HeadFile {
  known: AuditHead | undefined;
  #state: State | undefined;
  #timer: Timer | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(
    private readonly path: string,
    private readonly clock: Pick<Clock, 'after'>,
    private readonly log: Pick<Log, 'error'>,
  ) {}

  /** Undefined when there is none, or nothing that can be read. */
  load(): AuditHead | undefined {
    try {
      const [, seq, hash] = /^(\d{1,15}):([0-9a-f]{64})\n$/.exec(readFileSync(this.path, 'utf8')) ?? [];
      this.known = seq === undefined || hash === undefined ? undefined : { seq: Number(seq), hash };
    } catch {
      this.known = undefined; // an installation of the time before the audit log
    }
    return this.known;
  }

  follow(state: State): void {
    this.#state = state;
    this.known = undefined;
    this.#unsubscribe = state.subscribe(() => (this.#timer ??= this.clock.after(BEHIND_MS, () => void this.#write())));
    void this.#write();
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#timer?.cancel();
    await this.#write();
  }

  async #write(): Promise<void> {
    this.#timer = undefined;
    try {
      await this.#state?.settled();
      const now = this.#state?.auditHead;
      if (now === undefined || now.hash === this.known?.hash) return;
      await writeFile(`${this.path}.new`, `${now.seq}:${now.hash}\n`, { mode: 0o600 });
      await rename(`${this.path}.new`, this.path);
      this.known = now;
    } catch (e) {
      this.log.error({ err: e, path: this.path }, 'the newest row of the audit log could not be noted');
    }
  }
}
