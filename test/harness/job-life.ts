/**
 * One life of a controller for the job harness: the real state over a disk in memory, the real engine, virtual time.
 * A life ends when nothing is open, or dies at a chosen commit; the next one opens the same disk.
 */
import { drive } from '@berth/controller/jobs/engine/drive.ts';
import type { DriveEnv } from '@berth/controller/jobs/engine/at.ts';
import type { AnyJobDef, EngineDeps } from '@berth/controller/jobs/engine/define.ts';
import { LiveJobs } from '@berth/controller/jobs/engine/live.ts';
import { MemoryEngine, type MemoryDisk } from '@berth/controller/state/memory-engine.ts';
import type { Batch } from '@berth/controller/state/engine.ts';
import type { State } from '@berth/controller/state/state.ts';
import { StateFailed, Store } from '@berth/controller/state/store.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { KeyedTurns } from '@berth/shared/runtime/turns.ts';

const MAX_ROUNDS = 2_000;

/** Time that moves only when every job waits. */
export class WaitClock implements Clock {
  #now = 1_700_000_000_000;
  #timers = new Set<{ atMs: number; fn: () => void }>();

  now = (): number => this.#now;
  monotonic = (): number => this.#now;
  after(ms: number, fn: () => void): Timer {
    const timer = { atMs: this.#now + ms, fn };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }
  async sleep(ms: number): Promise<void> {
    this.advance(ms);
  }
  advance(ms: number): void {
    this.#now += ms;
    for (const t of [...this.#timers].filter((x) => x.atMs <= this.#now)) {
      this.#timers.delete(t);
      t.fn();
    }
  }
}

export interface LifeOptions {
  readonly disk: MemoryDisk;
  readonly clock: WaitClock;
  readonly deps: (state: Store, clock: Clock) => EngineDeps;
  readonly defs: readonly AnyJobDef[];
  readonly random: () => number;
  readonly crashAt?: number;
  readonly crashKeeps?: boolean;
  /** As in production, what is logged between two calls shares a commit; otherwise each write is one, to crash at each. */
  readonly grouped?: boolean;
  /** After each commit that reached the disk. */
  readonly onDurable?: () => void;
}

class ObservedEngine extends MemoryEngine {
  constructor(
    o: LifeOptions,
    private readonly onDurable: () => void,
  ) {
    super({
      disk: o.disk,
      ...(o.crashAt === undefined ? {} : { crashAt: o.crashAt, crashKeeps: o.crashKeeps ?? false }),
    });
  }
  override async commit(batch: Batch, epoch: number): Promise<void> {
    const before = this.disk.meta.revision;
    try {
      await super.commit(batch, epoch);
    } finally {
      if (this.disk.meta.revision !== before) this.onDurable();
    }
  }
}

/** Every write waits until it is durable. */
const ungrouped = (state: Store): State =>
  new Proxy<State>(state, {
    get(_, name) {
      const value: unknown = Reflect.get(state, name === 'apply' ? 'update' : name, state);
      return typeof value === 'function' ? (value.bind(state) as unknown) : value;
    },
  });

export type LifeEnd = 'settled' | 'stuck' | 'crashed';

export class Life {
  private constructor(
    readonly state: Store,
    readonly engine: MemoryEngine,
    private readonly env: DriveEnv,
    private readonly o: LifeOptions,
  ) {}

  static async begin(o: LifeOptions): Promise<Life> {
    const engine = new ObservedEngine(o, o.onDurable ?? (() => {}));
    const quiet = { error: () => {}, fatal: () => {}, debug: () => {}, warn: () => {} };
    const state = await Store.open({ engine, clock: o.clock, log: quiet, onFatal: () => {} });
    const env: DriveEnv = {
      state: o.grouped ? state : ungrouped(state),
      deps: o.deps(state, o.clock),
      clock: o.clock,
      random: { next: o.random },
      log: quiet,
      turns: new KeyedTurns(16),
      giveUpMs: Infinity,
      stopping: () => false,
      onLive: () => {},
    };
    return new Life(state, engine, env, o);
  }

  /** Drives all open jobs, in turn, until none is left. */
  async run(): Promise<LifeEnd> {
    const live = new LiveJobs();
    try {
      for (let round = 0; round < MAX_ROUNDS; round++) {
        const open = this.state.tables.jobs.open();
        if (open.length === 0) return 'settled';
        if (open.every((j) => j.state === 'stuck')) return 'stuck';
        await this.#round(
          open.map((j) => j.id),
          live,
        );
      }
    } catch (e) {
      if (e instanceof StateFailed) return 'crashed';
      throw e;
    }
    const [job] = this.state.tables.jobs.open();
    throw new Error(`job ${job?.kind} never ends: ${job?.state}, ${job?.waitReason ?? 'no reason'}`);
  }

  async #round(open: readonly JobId[], live: LiveJobs): Promise<void> {
    const waits: number[] = [];
    for (const id of open) {
      const job = this.state.tables.jobs.get(id)!;
      const def = this.o.defs.find((d) => d.kind === job.kind && d.version === job.version);
      if (!def) throw new Error(`the world does not know jobs of kind ${job.kind}; add it to its defs`);
      const outcome = await drive(this.env, id, def, live.of(id));
      waits.push(outcome.type === 'waiting' ? outcome.ms : 0);
    }
    this.o.clock.advance(Math.min(...waits));
  }
}
