/**
 * How a job is written down: a straight list of named steps, local or remote. Types and a builder; nothing here runs a
 * job (drive.ts) or stores one (log.ts).
 *
 *   export const vmStart = defineJob<Params, Deps>('vm.start', 1)
 *     .local('place', { run: ({ tx, params }) => …, undo: ({ tx }) => … })
 *     .remote('boot', { host: (c) => c.outs.place.hostId, run: async (c) => …, undo: …, debts: … })
 *     .pointOfNoReturn()
 *     .build();
 */
import type { Reason } from '@berth/shared/errors/reasons.ts';
import type { CleanupDebt } from '@berth/shared/model/access.ts';
import type { HostId, JobId } from '@berth/shared/model/ids.ts';
import type { JobError, JobEventType, Json } from '@berth/shared/model/job.ts';
import type { NotPromise, Tables, Tx } from '../../state/state.ts';

/** What a step hands back instead of an output: "come back later". It holds nothing meanwhile. */
export class Wait {
  readonly #brand = true;
  /** @param memo what a local step wants to find in `ctx.memo` when it is run again; durable. */
  constructor(
    readonly ms: number,
    readonly why: string,
    readonly memo?: Json,
  ) {}
  static is = (v: unknown): v is Wait => v instanceof Wait && v.#brand;
}

/** @param why for people, and the same at each try of one step: a changed reason is a durable write. */
export const wait = (ms: number, why: string, memo?: Json): Wait => new Wait(ms, why, memo);

/** What the engine itself asks of a job's deps. Missing hooks mean: nothing to do. */
export interface EngineDeps {
  /** Ends the operation on its host and leaves a tombstone; resolves when it no longer runs. Called before each undo. */
  cancelOperation?(hostId: HostId, operationId: string): Promise<unknown>;
  /** The job has ended: the agent may forget operations with these prefixes. Best effort, once. */
  acknowledgeOperations?(hostId: HostId, idPrefixes: readonly string[]): Promise<unknown>;
  /** Somebody or something has proven that the host is gone: no more waiting for it. */
  isHostDead?(hostId: HostId): boolean;
}

export interface StepContext<P, Outs, Deps> {
  readonly jobId: JobId;
  readonly params: P;
  /** Outputs of earlier steps, by step name. Typed: asking for a later step does not compile. */
  readonly outs: Readonly<Outs>;
  readonly deps: Deps;
  readonly tables: Tables;
  /** `<jobId>.<step>`: the same at every try. A step that makes several calls appends `.<suffix>` and lists `operations`. */
  readonly opId: string;
  /** `<jobId>.<step>.undo`. */
  readonly undoOpId: string;
  readonly nowMs: number;
  /** 1 for the first try in this life of the controller. */
  readonly attempt: number;
}

/** Of a local step: runs inside the transaction that logs its end. */
export interface LocalContext<P = unknown, Outs = unknown, Deps = unknown> extends StepContext<P, Outs, Deps> {
  readonly tx: Tx;
  /** From the last `wait(…, memo)` of this step. */
  readonly memo: Json | undefined;
  /** Outputs of the steps of another job, by step name. */
  outsOf(jobId: JobId): Readonly<Record<string, unknown>>;
  /** What is logged of the parts of this step, by their names. */
  parts(): ReadonlyMap<string, PartRecord>;
  /** Logs what became of one part, in this transaction; in the order that holds for steps. Say with `jobId` which job does it. */
  logPart(part: string, type: JobEventType, data?: PartStarted | JobError | { readonly what: string }): void;
}

/** Of a part of a step: what was logged last, the job that does it, and what it failed with. */
export interface PartRecord {
  readonly last: JobEventType;
  readonly jobId: JobId | undefined;
  readonly error: JobError | undefined;
}

export interface PartStarted {
  readonly jobId: JobId;
}

export interface RemoteContext<P = unknown, Outs = unknown, Deps = unknown> extends StepContext<P, Outs, Deps> {
  /** Aborted when the job is cancelled, past its deadline, or the controller stops. */
  readonly signal: AbortSignal;
  /** What this job noted at earlier tries; gone with the process, so never more than advice. */
  readonly notes: Map<string, unknown>;
  /** Bytes of bytes, for people; kept in memory only. */
  progress(doneBytes: number, totalBytes: number): void;
}

export interface Described<P, Outs, Deps> {
  readonly params: P;
  readonly outs: Readonly<Outs>;
  readonly deps: Deps;
}

interface StepOptions<P, Outs, Deps, O> {
  /** From its first start; then it fails with DEADLINE_EXCEEDED (past the point of no return: an alarm). */
  readonly deadlineMs?: number;
  /** One short phrase, shown when it has succeeded: `h3`, `fetched from h1`. */
  describe?(out: O, c: Described<P, Outs, Deps>): string;
  /** Reasons with retry `later` that this step waits for; RESOURCE_BUSY and PEER_UNAVAILABLE unless said otherwise. */
  readonly waitOn?: readonly Reason[];
  /** Reasons that fail this step at once, whatever the table of reasons says. */
  readonly failOn?: readonly Reason[];
}

/** Touches our own state only. Exactly once: its effect and its `succeeded` commit together. */
export interface LocalStep<P, Outs, Deps, O> extends StepOptions<P, Outs, Deps, O> {
  run(c: LocalContext<P, Outs, Deps>): NotPromise<O | Wait>;
  /**
   * Not called when `run` threw without having waited before: then its transaction was rolled back. After a wait that
   * failed, `out` is undefined (and `memo` tells what was begun).
   */
  undo?(c: LocalContext<P, Outs, Deps>, out: O | undefined): NotPromise<void | Wait>;
}

export type Debt = Pick<CleanupDebt, 'kind' | 'target' | 'vmId' | 'why'>;

/** Calls agents. At least once, always with the same operation id; writes nothing here. */
export interface RemoteStep<P, Outs, Deps, O> extends StepOptions<P, Outs, Deps, O> {
  /** The one host it works on: for cancelling before the undo, debts, acknowledgement and fairness between hosts. */
  host?(c: StepContext<P, Outs, Deps>): HostId | undefined;
  /** Operation ids that `run` may have used; `[opId]` unless said otherwise. */
  operations?(c: StepContext<P, Outs, Deps>): readonly string[];
  /**
   * What it has done cannot be taken back. A job that is to stop at it cancels its operations and runs it once more, to hear what
   * became of them: done, the job goes on; failed by itself, the job says so; only otherwise it stops for the reason it was to stop for.
   */
  readonly irrevocable?: boolean;
  run(c: RemoteContext<P, Outs, Deps>): Promise<O | Wait>;
  /**
   * Must be safe to run twice, and when `run` never took effect: `out` is undefined when the step failed or its answer
   * was lost. Its operations have been cancelled before. A step without `undo` has nothing to take back.
   */
  undo?(c: RemoteContext<P, Outs, Deps>, out: O | undefined): Promise<void | Wait>;
  /** What stays behind when the host is dead or silent. Needed with `host` and `undo`. */
  debts?(c: StepContext<P, Outs, Deps>, out: O | undefined): readonly Debt[];
}

type Loose<F> = F extends (...a: infer A) => infer R ? (...a: { [K in keyof A]: never }) => R : never;

/** A step with its types forgotten; only the engine calls it. */
export interface AnyStep {
  readonly name: string;
  readonly local: boolean;
  /** It lies past the point of no return. */
  readonly forwardOnly: boolean;
  readonly irrevocable: boolean;
  readonly deadlineMs: number | undefined;
  readonly waitOn: readonly Reason[];
  readonly failOn: readonly Reason[];
  run(c: never): unknown;
  readonly undo: ((c: never, out: never) => unknown) | undefined;
  readonly host: ((c: never) => HostId | undefined) | undefined;
  readonly operations: ((c: never) => readonly string[]) | undefined;
  readonly debts: ((c: never, out: never) => readonly Debt[]) | undefined;
  readonly describe: Loose<(out: unknown, c: unknown) => string> | undefined;
}

declare const types: unique symbol;

export interface JobDef<P, Deps> {
  readonly kind: string;
  readonly version: number;
  readonly steps: readonly AnyStep[];
  readonly deadlineMs: number | undefined;
  readonly [types]?: { readonly params: P; readonly deps: (d: Deps) => void };
}

/** A job with its types forgotten. */
export type AnyJobDef = Omit<JobDef<never, never>, typeof types>;

const DEFAULT_WAIT_ON: readonly Reason[] = ['RESOURCE_BUSY', 'PEER_UNAVAILABLE', 'STORAGE_UNAVAILABLE'];

export class JobBuilder<P, Deps, Outs extends object = object> {
  constructor(
    private readonly def: AnyJobDef,
    private readonly forwardOnly: boolean,
  ) {}

  local<const N extends string, O>(name: N, s: LocalStep<P, Outs, Deps, O>): JobBuilder<P, Deps, Outs & Record<N, O>> {
    return this.#add(name, true, s, undefined);
  }

  remote<const N extends string, O>(
    name: N,
    s: RemoteStep<P, Outs, Deps, O>,
  ): JobBuilder<P, Deps, Outs & Record<N, O>> {
    if (s.host && s.undo && !s.debts)
      throw new Error(`BUG: ${this.def.kind}.${name} has an undo on a host but no debts`);
    return this.#add(name, false, s, s);
  }

  /** Steps after this are never undone: they are tried until they succeed. */
  pointOfNoReturn(): JobBuilder<P, Deps, Outs> {
    return new JobBuilder(this.def, true);
  }

  /** From the start of the job; then the current step fails with DEADLINE_EXCEEDED. */
  deadline(ms: number): JobBuilder<P, Deps, Outs> {
    return new JobBuilder({ ...this.def, deadlineMs: ms }, this.forwardOnly);
  }

  build(): JobDef<P, Deps> {
    if (this.def.steps.length === 0) throw new Error(`BUG: job ${this.def.kind} has no steps`);
    return this.def;
  }

  #add<N extends string, O>(
    name: N,
    local: boolean,
    s: LocalStep<P, Outs, Deps, O> | RemoteStep<P, Outs, Deps, O>,
    remote: RemoteStep<P, Outs, Deps, O> | undefined,
  ): JobBuilder<P, Deps, Outs & Record<N, O>> {
    if (!/^[a-z][A-Za-z0-9-]*$/.test(name)) throw new Error(`BUG: ${JSON.stringify(name)} is no name for a step`);
    if (this.def.steps.some((x) => x.name === name)) throw new Error(`BUG: duplicate step ${name}`);
    const step: AnyStep = {
      name,
      local,
      forwardOnly: this.forwardOnly,
      irrevocable: remote?.irrevocable ?? false,
      deadlineMs: s.deadlineMs,
      waitOn: s.waitOn ?? DEFAULT_WAIT_ON,
      failOn: s.failOn ?? [],
      run: s.run.bind(s) as AnyStep['run'],
      undo: s.undo?.bind(s) as AnyStep['undo'],
      host: remote?.host?.bind(remote) as AnyStep['host'],
      operations: remote?.operations?.bind(remote) as AnyStep['operations'],
      debts: remote?.debts?.bind(remote) as AnyStep['debts'],
      describe: s.describe?.bind(s) as AnyStep['describe'],
    };
    return new JobBuilder({ ...this.def, steps: [...this.def.steps, step] }, this.forwardOnly);
  }
}

/** @param version raised when a step is added, removed, renamed or changes meaning; old versions stay until none is open. */
export function defineJob<P extends object, Deps extends EngineDeps>(
  kind: string,
  version: number,
): JobBuilder<P, Deps> {
  return new JobBuilder({ kind, version, steps: [], deadlineMs: undefined }, false);
}

/** For the golden file of kinds, versions and step names. */
export const jobShapes = (defs: readonly AnyJobDef[]): string =>
  defs
    .map((d) => `${d.kind} v${d.version}: ${d.steps.map(shape).join(' ')}\n`)
    .sort()
    .join('');

const shape = (s: AnyStep): string => `${s.name}(${s.local ? 'local' : 'remote'}${s.forwardOnly ? ',forward' : ''})`;
