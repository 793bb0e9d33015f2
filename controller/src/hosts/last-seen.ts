/**
 * What each host said last: when, its facts, the power of its VMs. So a restart of the controller need not show an empty
 * cluster until all hosts have reported. One file, a line per host, written behind; a lost one costs nothing but that.
 * Never an input of decisions, and never in the way of anything.
 */
import { createReadStream } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { chain } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { sameCpu } from './decode-cpu.ts';
import type { SeenHost } from './seen-host.ts';

const INTERVAL_MS = 10_000;
/** Writing takes at most this share of the time, however large the cluster. */
const SHARE = 0.02;
/** Hosts per write: in between, others have their turn. */
const BATCH = 100;

export class LastSeen {
  private readonly before = new Map<string, SeenHost>();
  private timer: Timer | undefined;
  private stopped = false;

  constructor(
    private readonly file: string,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /** What the former run of the controller knew. */
  get(hostId: string): SeenHost | undefined {
    return this.before.get(hostId);
  }

  async load(): Promise<void> {
    try {
      for await (const line of createInterface({ input: createReadStream(this.file) })) {
        const seen = parse(line);
        if (seen) this.before.set(seen.hostId, seen);
      }
    } catch {
      // absent at first, and not worth a word when it cannot be read
    }
  }

  /** @param collect called at each writing. */
  start(collect: () => Iterable<SeenHost>, afterMs = INTERVAL_MS): void {
    this.timer = this.clock.after(afterMs, () => {
      const beganMs = this.clock.monotonic();
      void this.save(collect()).then(() => {
        const tookMs = this.clock.monotonic() - beganMs;
        if (!this.stopped) this.start(collect, Math.max(INTERVAL_MS, tookMs / SHARE));
      });
    });
  }

  async stop(last: Iterable<SeenHost>): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    await this.save(last);
  }

  private async save(all: Iterable<SeenHost>): Promise<void> {
    try {
      const file = await open(`${this.file}.new`, 'w', 0o600);
      try {
        for (const text of portions(all)) await file.write(text);
      } finally {
        await file.close();
      }
      await rename(`${this.file}.new`, this.file);
    } catch (e) {
      this.log.warn(`what hosts said last could not be noted in ${this.file}: ${chain(e)}`);
    }
  }
}

function* portions(all: Iterable<SeenHost>): Generator<string> {
  let lines: string[] = [];
  for (const seen of all) {
    lines.push(`${JSON.stringify(seen)}\n`);
    if (lines.length < BATCH) continue;
    yield lines.join('');
    lines = [];
  }
  yield lines.join('');
}

/** Undefined for a line that was cut or is of another version. */
function parse(line: string): SeenHost | undefined {
  try {
    const seen = JSON.parse(line) as Partial<SeenHost>;
    if (typeof seen.hostId !== 'string' || typeof seen.atMs !== 'number') return undefined;
    const { facts } = seen;
    const known = facts?.cpu ? { ...facts, cpu: sameCpu(facts.cpu) } : facts;
    return { hostId: seen.hostId, atMs: seen.atMs, facts: known, vms: seen.vms ?? {} };
  } catch {
    return undefined;
  }
}
