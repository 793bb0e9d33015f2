/**
 * A durable engine in memory, for tests and simulations: a "disk" that outlives the engine, and a crash at the n-th
 * commit, kept or lost. Values are stored as JSON, so nothing is shared with the tables.
 */
import { unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { AuditRow } from '@berth/shared/model/audit.ts';
import type { Event } from '@berth/shared/model/event.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import { isEnded, type Job, type JobEvent } from '@berth/shared/model/job.ts';
import {
  RETENTION,
  type Batch,
  type DurableEngine,
  type EventQuery,
  type JobQuery,
  type LoadSink,
  type Meta,
} from './engine.ts';
import type { AuditQuery, StoredJob, TableName } from './state.ts';

export class MemoryDisk {
  readonly tables = new Map<TableName, Map<string, string>>();
  readonly jobLogs = new Map<JobId, string[]>();
  events: Event[] = [];
  audit: AuditRow[] = [];
  meta: Meta;

  constructor(installationId = 'installation-000000000000000000000', epoch = 1) {
    this.meta = { installationId, epoch, revision: 0 };
  }

  /** Everything that outlives a crash but the named tables; for comparing worlds. */
  snapshot(without: readonly TableName[] = ['jobs']): Record<string, Record<string, unknown>> {
    const out: Record<string, Record<string, unknown>> = {};
    for (const table of [...this.tables.keys()].sort()) {
      const rows = [...this.tables.get(table)!].sort(([a], [b]) => (a < b ? -1 : 1));
      if (!without.includes(table) && rows.length > 0) {
        out[table] = Object.fromEntries(rows.map(([k, v]) => [k, JSON.parse(v) as unknown]));
      }
    }
    return out;
  }
}

/** Stands for kill -9: thrown by the commit at which the process "died". */
export class Crash extends Error {
  override readonly name = 'Crash';
}

export interface MemoryEngineOptions {
  readonly disk?: MemoryDisk;
  /** 0 is the first commit of this engine. */
  readonly crashAt?: number;
  /** The commit at which it crashes did reach the disk. */
  readonly crashKeeps?: boolean;
}

export class MemoryEngine implements DurableEngine {
  readonly disk: MemoryDisk;
  commits = 0;
  #crashed = false;

  constructor(private readonly o: MemoryEngineOptions = {}) {
    this.disk = o.disk ?? new MemoryDisk();
  }

  async load(sink: LoadSink): Promise<Meta> {
    for (const [table, rows] of this.disk.tables) {
      const values = Array.from(rows.values(), (v) => JSON.parse(v) as object);
      sink.rows(table, values);
    }
    for (const [jobId, log] of this.disk.jobLogs) {
      sink.jobEvents(log.map((e) => ({ jobId, event: JSON.parse(e) as JobEvent })));
    }
    const last = this.disk.audit.at(-1);
    return { ...this.disk.meta, ...(last ? { auditHead: { seq: last.seq, hash: last.hash } } : {}) };
  }

  async commit(batch: Batch, epoch: number): Promise<void> {
    if (this.#crashed) throw new Crash('dead already');
    const dies = this.commits++ === this.o.crashAt;
    if (!dies || this.o.crashKeeps) this.#apply(batch, epoch);
    if (!dies) return;
    this.#crashed = true;
    throw new Crash(`crash at commit ${this.commits - 1}`);
  }

  async historyEvents(q: EventQuery): Promise<readonly Event[]> {
    const all = this.disk.events.filter((e) => q.subject === undefined || e.subject === q.subject);
    if (q.afterRevision === undefined) return all.slice(Math.max(0, all.length - q.limit));
    const newer = all.filter((e) => e.revision > q.afterRevision!);
    const last = newer[q.limit - 1];
    return last ? newer.filter((e) => e.revision <= last.revision) : newer;
  }

  async historyAudit(q: AuditQuery): Promise<readonly AuditRow[]> {
    const fits = this.disk.audit.filter(
      (r) =>
        r.seq < (q.before ?? Infinity) &&
        r.seq > (q.after ?? 0) &&
        (q.user === undefined || r.user === q.user) &&
        (q.object === undefined || r.object === q.object) &&
        (q.outcome === undefined || r.outcome === q.outcome) &&
        r.atMs >= (q.sinceMs ?? 0),
    );
    return (q.after === undefined ? fits.reverse() : fits).slice(0, q.limit);
  }

  async historyJobs(q: JobQuery): Promise<readonly StoredJob[]> {
    const rows = this.disk.tables.get('jobs') ?? new Map<string, string>();
    const ids = [...rows.keys()].filter((id) => (q.id ? id === q.id : q.before === undefined || id < q.before));
    return ids
      .sort((a, b) => (a < b ? 1 : -1))
      .slice(0, q.limit)
      .map((id) => ({
        job: JSON.parse(rows.get(id)!) as Job,
        log: (this.disk.jobLogs.get(id as JobId) ?? []).map((e) => JSON.parse(e) as JobEvent),
      }));
  }

  copyTo(path: string): Promise<void> {
    return Promise.reject(unsupported(`a state in memory cannot be copied to ${path}`));
  }

  async close(): Promise<void> {}

  #apply(batch: Batch, epoch: number): void {
    const { disk } = this;
    if (epoch !== disk.meta.epoch) throw new Error(`epoch ${epoch} may not write; epoch ${disk.meta.epoch} does`);
    for (const { table, key, value } of batch.rows) {
      const rows = disk.tables.get(table) ?? new Map<string, string>();
      if (value) rows.set(key, JSON.stringify(value));
      else rows.delete(key);
      disk.tables.set(table, rows);
    }
    for (const { jobId, event } of batch.jobEvents) {
      const log = disk.jobLogs.get(jobId) ?? [];
      log.push(JSON.stringify(event));
      disk.jobLogs.set(jobId, log);
    }
    disk.events.push(...batch.events);
    disk.audit.push(...batch.audit);
    while ((disk.audit[0]?.seq ?? Infinity) <= batch.auditPrunedTo) disk.audit.shift();
    if (disk.events.length > 2 * RETENTION.events) disk.events = disk.events.slice(-RETENTION.events);
    this.#trimJobs(batch);
    disk.meta = { ...disk.meta, revision: batch.revision };
  }

  /** Ended jobs leave after the retention time, as in SQLite. */
  #trimJobs(batch: Batch): void {
    if (Math.floor(batch.revision / 1000) === Math.floor(this.disk.meta.revision / 1000)) return;
    const jobs = this.disk.tables.get('jobs');
    for (const [id, text] of jobs ?? []) {
      const job = JSON.parse(text) as Job;
      if (!isEnded(job.state) || (job.endedAtMs ?? 0) > batch.atMs - RETENTION.endedJobsMs) continue;
      jobs!.delete(id);
      this.disk.jobLogs.delete(id as JobId);
    }
  }
}
