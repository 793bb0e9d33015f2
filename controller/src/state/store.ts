/**
 * The state: tables in memory, one synchronous writer, group commit. Updates that arrive while a commit is under way
 * share the next one, so 100 in flight cost one fsync. What is durable, and how, is the engine's.
 */
import { chain, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { AuditHead, AuditRow } from '@berth/shared/model/audit.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import type { JobEvent } from '@berth/shared/model/job.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import {
  RETENTION,
  type Batch,
  type DurableEngine,
  type EventQuery,
  type JobQuery,
  type Meta,
  type RowChange,
} from './engine.ts';
import { inSpan } from '@berth/shared/trace/trace.ts';
import { actAsNobody } from './actor.ts';
import { chained, GENESIS } from './audit-chain.ts';
import { Journal } from './journal.ts';
import type { AuditQuery, Change, NotPromise, State, Tables, Tx } from './state.ts';
import type { TableName } from './state.ts';
import { makeTables, type MemTables } from './tables.ts';
import { JobLogs, transact, type Applied } from './transaction.ts';

export interface StoreOptions {
  readonly engine: DurableEngine;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Pick<Log, 'error' | 'fatal'>;
  /** A commit failed: memory and disk may differ, so the process must stop. */
  readonly onFatal: (e: unknown) => void;
  /** Told of each commit that begins, and what shares it. @returns what is called when it is durable. */
  readonly onCommit?: ((updates: number) => () => void) | undefined;
}

/** No update can be made any more: not the fault of whoever tried. */
export class StateFailed extends Error {
  override readonly name = 'StateFailed';
}

interface Waiter {
  readonly revision: number;
  readonly resolve: () => void;
  readonly reject: (e: unknown) => void;
}

interface Pending {
  readonly change: Change;
  readonly jobEvents: Applied['jobEvents'];
  readonly audit: readonly AuditRow[];
}

export class Store implements State {
  readonly #mem: MemTables;
  readonly #logs = new JobLogs();
  readonly #journal = new Journal<TableName>();
  readonly #listeners = new Set<(change: Change) => void>();
  #meta: Meta = { installationId: '', epoch: 0, revision: 0 };
  #revision = 0;
  #auditHead: AuditHead = GENESIS;
  #auditPrunedTo = 0;
  #durable = 0;
  #pending: Pending[] = [];
  /** In the order of revisions. */
  #waiters: Waiter[] = [];
  #flushing = false;
  #failed = false;
  #dead: Error | undefined;

  private constructor(private readonly o: StoreOptions) {
    this.#mem = makeTables(this.#journal);
  }

  static async open(o: StoreOptions): Promise<Store> {
    const store = new Store(o);
    await store.#load();
    return store;
  }

  get tables(): Tables {
    return this.#mem;
  }
  get installationId(): string {
    return this.#meta.installationId;
  }
  get epoch(): number {
    return this.#meta.epoch;
  }
  get revision(): number {
    return this.#revision;
  }
  get auditHead(): AuditHead {
    return { seq: this.#auditHead.seq, hash: this.#auditHead.hash };
  }

  async pruneAudit(upTo: AuditHead, method: string): Promise<void> {
    await this.update((tx) => {
      tx.audit({
        ...{ user: '', tokenId: '', peer: '', method, objectKind: 'audit', object: `${upTo.seq}:${upTo.hash}` },
        ...{ outcome: 'done', reason: '', message: '', count: 1, jobId: '', before: '', after: '' },
      });
      this.#auditPrunedTo = upTo.seq;
    });
  }

  get pending(): number {
    return this.#pending.length;
  }
  get durableRevision(): number {
    return this.#durable;
  }

  async update<T>(fn: (tx: Tx) => NotPromise<T>): Promise<T> {
    const result = await this.apply(fn);
    await this.settled();
    return result;
  }

  async apply<T>(fn: (tx: Tx) => NotPromise<T>): Promise<T> {
    if (this.#dead) throw this.#dead;
    const m = { tables: this.#mem, logs: this.#logs, journal: this.#journal, nowMs: this.o.clock.now() };
    const { result, applied } = transact(m, fn);
    if (applied) this.#enqueue(applied);
    return result;
  }

  settled(): Promise<void> {
    if (this.#dead) return Promise.reject(this.#dead);
    if (this.#durable === this.#revision) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiters.push({ revision: this.#revision, resolve, reject }));
  }

  prove(): Promise<void> {
    if (this.#dead) return Promise.reject(this.#dead);
    this.#enqueue({ touched: new Map(), events: [], jobEvents: [], audit: [] });
    return this.settled();
  }

  jobLog(jobId: JobId): readonly JobEvent[] {
    return this.#logs.get(jobId);
  }

  events = (query: EventQuery) => this.o.engine.historyEvents(query);
  auditLog = (query: AuditQuery) => this.o.engine.historyAudit(query);
  jobHistory = (query: JobQuery) => this.o.engine.historyJobs(query);
  copyTo = (path: string) => this.o.engine.copyTo(path);

  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    const settled = this.#dead ? undefined : this.settled();
    this.#dead ??= new StateFailed('the state is closed');
    try {
      await settled;
    } finally {
      await this.o.engine.close();
    }
  }

  async #load(): Promise<void> {
    this.#meta = await this.o.engine.load({
      rows: (table, values) => this.#mem[table].load(values as never),
      jobEvents: (events) => events.forEach((e) => this.#logs.append(e.jobId, e.event)),
    });
    this.#revision = this.#durable = this.#meta.revision;
    this.#auditHead = this.#meta.auditHead ?? GENESIS;
  }

  #enqueue(applied: Applied): void {
    const revision = ++this.#revision;
    const change: Change = {
      revision,
      touched: applied.touched,
      events: applied.events.map((e) => ({ ...e, revision })),
      jobLogs: new Set(applied.jobEvents.map((e) => e.jobId)),
    };
    const audit = applied.audit.map((e) => (this.#auditHead = chained(e, revision, this.#auditHead)));
    this.#pending.push({ change, jobEvents: applied.jobEvents, audit });
    if (!this.#flushing) void this.#flush();
  }

  /** Commits until nothing is pending. */
  async #flush(): Promise<void> {
    this.#flushing = true;
    while (this.#pending.length > 0 && !this.#failed) {
      // After the microtasks of this moment: whoever was woken by the last commit gets into the next one.
      await new Promise<void>((resolve) => process.nextTick(resolve));
      const batch = this.#pending;
      this.#pending = [];
      try {
        const committed = this.o.onCommit?.(batch.length);
        await this.o.engine.commit(this.#encode(batch), this.#meta.epoch);
        committed?.();
      } catch (e) {
        this.#fail(e);
        break;
      }
      for (const p of batch) this.#publish(p.change);
      this.#wake();
      if (this.#pending.length === 0) this.#forgetOldJobs();
    }
    this.#flushing = false;
  }

  #forgetOldJobs(): void {
    for (const id of this.#mem.jobs.evictEnded(RETENTION.endedJobsInMemory)) this.#logs.forget(id as JobId);
  }

  /** All rows touched so far, as they are now: everything applied is in this batch. */
  #encode(batch: readonly Pending[]): Batch {
    const touched = new Map<TableName, Set<string>>();
    for (const { change } of batch) {
      for (const [table, keys] of change.touched) {
        const all = touched.get(table) ?? new Set();
        for (const k of keys) all.add(k);
        touched.set(table, all);
      }
    }
    const rows: RowChange[] = [];
    for (const [table, keys] of touched)
      for (const key of keys) rows.push({ table, key, value: this.#mem[table].get(key) });
    return {
      revision: batch.at(-1)!.change.revision,
      atMs: this.o.clock.now(),
      rows,
      jobEvents: batch.flatMap((p) => p.jobEvents),
      events: batch.flatMap((p) => p.change.events),
      audit: batch.flatMap((p) => p.audit),
      auditPrunedTo: this.#auditPrunedTo,
    };
  }

  #publish(change: Change): void {
    this.#durable = change.revision;
    for (const listener of this.#listeners) {
      try {
        actAsNobody(() => inSpan(undefined, () => listener(change)));
      } catch (e) {
        this.o.log.error({ err: e }, 'a listener of the state failed');
      }
    }
  }

  #wake(): void {
    const n = this.#waiters.findIndex((w) => w.revision > this.#durable);
    for (const w of this.#waiters.splice(0, n < 0 ? Infinity : n)) w.resolve();
  }

  #fail(e: unknown): void {
    this.#failed = true;
    this.#dead = new StateFailed(`the state could not be made durable: ${chain(e)}`, { cause: e });
    const told = isClusterError(e) ? { reason: e.reason, why: chain(e) } : { err: e };
    this.o.log.fatal(told, 'the state could not be made durable; the controller stops');
    this.o.onFatal(e);
    for (const w of this.#waiters.splice(0)) w.reject(this.#dead);
  }
}
