/**
 * When each host was last heard of, so that a restart of the controller does not forget it. A small file, written behind
 * once a minute and at the end; a lost one costs nothing but that. Never in the way of anything.
 */
import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { chain } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';

const INTERVAL_MS = 60_000;

export class LastSeen {
  private readonly before: ReadonlyMap<string, number>;
  private written = '';
  private timer: Timer | undefined;

  constructor(
    private readonly file: string,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.before = read(file);
  }

  /** What the former run of the controller knew. */
  get(hostId: string): number | undefined {
    return this.before.get(hostId);
  }

  /** @param collect called once a minute. */
  start(collect: () => Readonly<Record<string, number>>): void {
    this.timer = this.clock.after(INTERVAL_MS, () => {
      void this.save(collect()).then(() => this.timer && this.start(collect));
    });
  }

  async stop(last: Readonly<Record<string, number>>): Promise<void> {
    this.timer?.cancel();
    this.timer = undefined;
    await this.save(last);
  }

  private async save(seen: Readonly<Record<string, number>>): Promise<void> {
    const text = JSON.stringify(seen);
    if (text === this.written) return;
    try {
      await writeFile(`${this.file}.new`, text, { mode: 0o600 });
      await rename(`${this.file}.new`, this.file);
      this.written = text;
    } catch (e) {
      this.log.warn(`when hosts were last seen could not be noted in ${this.file}: ${chain(e)}`);
    }
  }
}

function read(file: string): ReadonlyMap<string, number> {
  try {
    const stored = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    return new Map(Object.entries(stored).filter((e): e is [string, number] => typeof e[1] === 'number'));
  } catch {
    return new Map(); // absent at first, and not worth a word when it is damaged
  }
}
