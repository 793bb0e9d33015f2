/**
 * The promises that every job keeps, checked with no code per job: each remote step twice; failure before and after each
 * step, with undo once and twice; a late arrival after the undo; crash before and after each log write, forwards and
 * unwinding; and an adversarial world, where answers get lost and differ. Uses the real state and the real engine.
 */
import assert from 'node:assert/strict';
import type { AnyJobDef, EngineDeps, JobDef } from '@berth/controller/jobs/engine/define.ts';
import type { StartOptions } from '@berth/controller/jobs/engine/jobs.ts';
import { startJob } from '@berth/controller/jobs/engine/start.ts';
import { MemoryDisk } from '@berth/controller/state/memory-engine.ts';
import type { State, Tx } from '@berth/controller/state/state.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { canonical } from './canonical.ts';
import {
  failAt,
  hooked,
  injected,
  losing,
  lossy,
  patch,
  randomOf,
  runTwice,
  undoTwice,
  type Faults,
} from './job-faults.ts';
import { Life, WaitClock, type LifeEnd } from './job-life.ts';

export interface JobWorld<P, D> {
  /** Puts down what is there before the job. */
  seed(tx: Tx): void;
  readonly params: P;
  /** Locks, key and so on, as the product starts it. */
  readonly start?: Partial<StartOptions>;
  /** Called once per life of the controller: what it keeps in memory is lost with each crash. */
  deps(state: State, clock: Clock): D;
  /** What is outside the controller, as plain data, without ledgers of operations. */
  hosts(): unknown;
  /** Definitions of other jobs that this one starts or joins. */
  readonly defs?: readonly AnyJobDef[];
  /** Renames what may differ between two runs beyond ids, UUIDs and MAC addresses (which are renamed already). */
  canonical?(snapshot: unknown): unknown;
}

/** For worlds: answers that a job must not depend on. */
export interface Adversary {
  /** Another number below `n` at each call, but the same again when the commit after it was lost. */
  pick(n: number): number;
  /** The same object, but in some runs its asynchronous methods lose the call or the answer (HOST_UNREACHABLE). */
  agent<T extends object>(api: T): T;
}

export type MakeWorld<P, D> = (adversary: Adversary) => JobWorld<P, D>;

export interface CheckOptions {
  /** Runs in a world that loses calls and answers. */
  readonly seeds?: number;
  /** Steps that are found again by looking, so that a late arrival may still act on a host. */
  readonly lateIsHarmless?: readonly string[];
}

interface Plan {
  readonly what: string;
  readonly def: AnyJobDef;
  readonly crash?: { readonly at: number; readonly keeps: boolean };
  readonly faults?: Faults;
  readonly grouped?: boolean;
  /** Called when the job has ended. */
  readonly after?: () => Promise<void>;
}

interface Result {
  readonly end: LifeEnd;
  readonly state: string;
  readonly before: unknown;
  readonly snapshot: unknown;
  readonly commits: number;
}

/** @returns how much was tried. Throws an AssertionError that names the run. */
export async function checkJob<P extends object, D extends EngineDeps>(
  def: JobDef<P, D>,
  makeWorld: MakeWorld<P, D>,
  options: CheckOptions = {},
): Promise<{ readonly steps: number; readonly runs: number }> {
  return new Checker(def as AnyJobDef, makeWorld as unknown as MakeWorld<object, EngineDeps>, options).check();
}

class Checker {
  #runs = 0;

  constructor(
    private readonly def: AnyJobDef,
    private readonly makeWorld: MakeWorld<object, EngineDeps>,
    private readonly o: CheckOptions,
  ) {}

  async check(): Promise<{ steps: number; runs: number }> {
    const plain = await this.#run({ what: 'plain', def: this.def });
    assert.equal(plain.state, 'succeeded', `${this.def.kind}: it does not even succeed in its own world`);
    await this.#succeeds(plain, { what: 'each remote step twice', def: patch(this.def, runTwice) });
    await this.#failEverywhere();
    await this.#arriveLate();
    await this.#crashEverywhere(plain, { what: 'forwards', def: this.def });
    const grouped = { what: 'forwards, with shared commits', def: this.def, grouped: true };
    await this.#crashEverywhere(await this.#run(grouped), grouped);
    for (const s of this.def.steps.filter((x) => !x.forwardOnly)) {
      const failing = { what: `unwinding from ${s.name}`, def: patch(this.def, failAt(s, 'after')) };
      await this.#crashEverywhere(await this.#fails(failing), failing);
    }
    await this.#adversarial(plain);
    return { steps: this.def.steps.length, runs: this.#runs };
  }

  async #failEverywhere(): Promise<void> {
    for (const s of this.def.steps) {
      for (const when of ['before', 'after'] as const) {
        for (const undo of ['once', 'twice'] as const) {
          const failing = patch(this.def, failAt(s, when));
          const def = undo === 'twice' ? patch(failing, undoTwice) : failing;
          const plan = { what: `failure ${when} ${s.name}, undo ${undo}`, def };
          if (!s.forwardOnly) await this.#fails(plan);
          else assert.equal((await this.#run(plan)).state, 'succeeded', `${plan.what}: past its point of no return`);
        }
      }
    }
  }

  /** A call that was thought lost arrives when its step has long been undone: the agent must refuse it. */
  async #arriveLate(): Promise<void> {
    for (const s of this.def.steps) {
      if (!s.host || s.forwardOnly || this.o.lateIsHarmless?.includes(s.name)) continue;
      let late: (() => Promise<unknown>) | undefined;
      const def = patch(this.def, (x) =>
        x.name !== s.name ? {} : { run: async (c: never) => ((late = async () => x.run(c)), injected()) },
      );
      const after = async (): Promise<void> => void (await late?.().catch(() => {}));
      await this.#fails({ what: `late arrival of ${s.name} after its undo`, def, after });
    }
  }

  async #crashEverywhere(want: Result, plan: Plan): Promise<void> {
    for (let at = 0; at < want.commits; at++) {
      for (const keeps of [true, false]) {
        const what = `crash ${keeps ? 'after' : 'before'} write ${at + 1} of ${want.commits}, ${plan.what}`;
        const got = await this.#run({ ...plan, what, crash: { at, keeps } });
        this.#same(got, want, what);
      }
    }
  }

  async #adversarial(plain: Result): Promise<void> {
    const last = this.def.steps.findLast((s) => !s.forwardOnly);
    for (let seed = 1; seed <= (this.o.seeds ?? 20); seed++) {
      const faults = { probability: 0.3, random: randomOf(seed) };
      const what = `lost calls and answers, seed ${seed}`;
      const crash = { at: seed % plain.commits, keeps: seed % 2 === 0 };
      await this.#succeeds(plain, { what, def: lossy(this.def, faults), faults, crash });
      if (last)
        await this.#fails({
          what: `${what}, unwinding`,
          def: lossy(patch(this.def, failAt(last, 'after')), faults),
          faults,
          crash,
        });
    }
  }

  async #succeeds(want: Result, plan: Plan): Promise<void> {
    this.#same(await this.#run(plan), want, plan.what);
  }

  #same(got: Result, want: Result, what: string): void {
    assert.equal(got.state, want.state, `${this.def.kind}: ${what}: the job ends as ${got.state}, not ${want.state}`);
    assert.deepEqual(got.snapshot, want.snapshot, `${this.def.kind}: ${what}: the world is not as it should be`);
  }

  async #fails(plan: Plan): Promise<Result> {
    const r = await this.#run(plan);
    assert.equal(r.state, 'failed', `${this.def.kind}: ${plan.what}: the job ends as ${r.state}, not failed`);
    assert.deepEqual(r.snapshot, r.before, `${this.def.kind}: ${plan.what}: something stays behind`);
    return r;
  }

  async #run(plan: Plan): Promise<Result> {
    this.#runs++;
    const picks = new Picks();
    const world = this.makeWorld({ pick: (n) => picks.next(n), agent: (api) => losing(api, plan.faults) });
    const disk = new MemoryDisk();
    const clock = new WaitClock();
    const common = {
      disk,
      clock,
      random: () => 0.5,
      defs: [plan.def, ...(world.defs ?? [])],
      deps: (state: State, c: Clock) => hooked(world.deps(state, c), plan.faults),
      onDurable: () => picks.keep(),
      grouped: plan.grouped ?? false,
    };
    const snapshot = (): unknown => snapshotOf(world, disk);
    const first = await Life.begin(common);
    await first.state.update((tx) => world.seed(tx));
    const before = snapshot();
    const start = { subject: 'it', user: 'harness', ...world.start };
    const jobId = await first.state.update((tx) =>
      startJob(tx, plan.def as JobDef<object, EngineDeps>, world.params, start),
    );
    let life = await Life.begin({
      ...common,
      ...(plan.crash && { crashAt: plan.crash.at, crashKeeps: plan.crash.keeps }),
    });
    let end = await life.run();
    if (end === 'crashed') {
      picks.restore();
      life = await Life.begin(common);
      end = await life.run();
    }
    await plan.after?.();
    const job = life.state.tables.jobs.get(jobId);
    const state =
      end === 'stuck'
        ? `stuck (${[...life.state.tables.jobs.open()].map((j) => j.waitReason).join()})`
        : (job?.state ?? 'gone');
    if (end === 'settled') this.#nothingHeld(life.state, plan.what);
    return { end, state, before, snapshot: snapshot(), commits: life.engine.commits };
  }

  #nothingHeld(state: State, what: string): void {
    const left = [...state.tables.jobs.values()].filter((j) => j.locks.length > 0);
    assert.deepEqual(left, [], `${this.def.kind}: ${what}: locks stay behind`);
    assert.deepEqual(state.tables.jobs.open(), [], `${this.def.kind}: ${what}: a job still waits`);
  }
}

/** Counts answers; goes back with a commit that was lost, as the database would. */
class Picks {
  #count = 0;
  #durable = 0;
  next = (n: number): number => this.#count++ % n;
  keep(): void {
    this.#durable = this.#count;
  }
  restore(): void {
    this.#count = this.#durable;
  }
}

function snapshotOf(world: JobWorld<object, EngineDeps>, disk: MemoryDisk): unknown {
  const raw = { durable: disk.snapshot(['jobs']), hosts: structuredClone(world.hosts()) };
  return canonical(world.canonical ? world.canonical(raw) : raw);
}
