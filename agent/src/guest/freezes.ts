/**
 * Which guests have their file systems frozen, remembered on disk before they are asked to: whoever asked may die, and so may
 * this agent. At their deadline they are thawed, and tried again until it works or the guest is off. `guests/frozen.json`.
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import * as z from 'zod';

const Freeze = z.strictObject({
  uuid: z.string(),
  vmId: z.string(),
  name: z.string(),
  /** By the host's clock, as it may be another life of the agent that reads it. */
  atMs: z.number(),
  thawAtMs: z.number(),
});
export type Freeze = Readonly<z.infer<typeof Freeze>>;

export interface FreezesDeps {
  readonly file: string;
  readonly clock: Clock;
  readonly log: Log;
  thaw(freeze: Freeze): Promise<unknown>;
  changed(uuid: string): void;
}

const RETRY_MS = 10_000;

export class Freezes {
  private readonly all = new Map<string, Freeze>();
  private readonly timers = new Map<string, Timer>();
  private writing: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(private readonly deps: FreezesDeps) {}

  /** Takes up what a former life of the agent left. */
  async start(): Promise<void> {
    for (const f of await this.load()) {
      this.deps.log.warn({ vm: f.name, uuid: f.uuid }, 'file systems of a guest were left frozen');
      this.all.set(f.uuid, f);
      this.plan(f);
    }
  }

  stop(): void {
    this.stopped = true;
    for (const t of this.timers.values()) t.cancel();
  }

  find(uuid: string): Freeze | undefined {
    return this.all.get(uuid);
  }

  uuids(): readonly string[] {
    return [...this.all.keys()];
  }

  /** On disk when it resolves. */
  async put(f: Freeze): Promise<void> {
    this.all.set(f.uuid, f);
    await this.save();
    this.plan(f);
    this.deps.changed(f.uuid);
  }

  async forget(uuid: string): Promise<void> {
    this.timers.get(uuid)?.cancel();
    this.timers.delete(uuid);
    if (!this.all.delete(uuid)) return;
    this.deps.changed(uuid);
    await this.save();
  }

  private plan(f: Freeze): void {
    this.later(f, Math.max(0, f.thawAtMs - this.deps.clock.now()));
  }

  private later(f: Freeze, ms: number): void {
    this.timers.get(f.uuid)?.cancel();
    this.timers.set(
      f.uuid,
      this.deps.clock.after(ms, () => void this.due(f)),
    );
  }

  private async due(f: Freeze): Promise<void> {
    if (this.stopped || this.all.get(f.uuid) !== f) return;
    const { log } = this.deps;
    try {
      await this.deps.thaw(f);
      log.warn({ vm: f.name, uuid: f.uuid }, 'nobody thawed the file systems of a guest in time: thawed now');
      await this.forget(f.uuid);
    } catch (e) {
      log.error({ err: e, vm: f.name, uuid: f.uuid }, 'the file systems of a guest could not be thawed');
      if (!this.stopped && this.all.get(f.uuid) === f) this.later(f, RETRY_MS);
    }
  }

  /** One write after the other, each of what is so by then. */
  private save(): Promise<void> {
    const next = this.writing.catch(() => undefined).then(() => this.write());
    this.writing = next;
    return next;
  }

  private async write(): Promise<void> {
    const { file } = this.deps;
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const handle = await open(`${file}.new`, 'w', 0o600);
    try {
      await handle.writeFile(JSON.stringify([...this.all.values()]));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(`${file}.new`, file);
    const directory = await open(dirname(file), 'r');
    await directory.sync().finally(() => directory.close());
  }

  private async load(): Promise<readonly Freeze[]> {
    const { file, log } = this.deps;
    try {
      return z.array(Freeze).parse(JSON.parse(await readFile(file, 'utf8')));
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'ENOENT')
        log.error({ err: e, file }, 'it cannot be read; it is ignored');
      return [];
    }
  }
}
