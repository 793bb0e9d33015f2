/** The durable engine over SQLite: the main thread's side of the worker. Encodes batches, decodes rows; no SQL. */
import { Worker } from 'node:worker_threads';
import { badState, chain, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { isReason } from '@berth/shared/errors/reasons.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import type { Job, JobEvent, Json } from '@berth/shared/model/job.ts';
import type { Batch, DurableEngine, EventQuery, JobQuery, LoadSink, Meta } from '../engine.ts';
import type { AuditQuery, StoredJob } from '../state.ts';
import { codecOf, decode, encode, type SqlValue } from './codec.ts';
import type { Answers, FromWorker, Request, WireBatch, WireJob, WorkerData } from './protocol.ts';

interface Waiting {
  resolve(value: never): void;
  reject(e: unknown): void;
}

export class SqliteEngine implements DurableEngine {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #sink: LoadSink | undefined;
  #gone: Error | undefined;

  constructor(path: string, workerFile: string | URL) {
    const workerData: WorkerData = { path };
    this.#worker = new Worker(workerFile, { workerData });
    this.#worker.on('message', (m: FromWorker) => this.#receive(m));
    this.#worker.on('error', (e) => this.#fail(e));
    this.#worker.on('exit', () => this.#fail(new Error('the SQLite thread has ended')));
  }

  async load(sink: LoadSink): Promise<Meta> {
    this.#sink = sink;
    try {
      return await this.#ask({ op: 'load' });
    } catch (e) {
      await this.#worker.terminate();
      throw e;
    }
  }

  #lastRevision = 0;

  commit(batch: Batch, epoch: number): Promise<undefined> {
    const wire: WireBatch = {
      revision: batch.revision,
      updates: batch.revision - this.#lastRevision,
      atMs: batch.atMs,
      rows: batch.rows.map(({ table, key, value }) => [table, key, value ? encode(codecOf(table), key, value) : null]),
      jobEvents: batch.jobEvents.map(({ jobId, seq, event: e }) => [jobId, seq, e.step, e.type, e.atMs, text(e.data)]),
      events: batch.events,
      audit: batch.audit,
      auditPrunedTo: batch.auditPrunedTo,
    };
    this.#lastRevision = batch.revision;
    return this.#ask({ op: 'commit', batch: wire, epoch });
  }

  historyEvents(query: EventQuery): Promise<Answers['events']> {
    return this.#ask({ op: 'events', query });
  }

  historyAudit(query: AuditQuery): Promise<Answers['audit']> {
    return this.#ask({ op: 'audit', query });
  }

  async historyJobs(query: JobQuery): Promise<readonly StoredJob[]> {
    return (await this.#ask({ op: 'jobs', query })).map(toStoredJob);
  }

  copyTo(path: string): Promise<undefined> {
    return this.#ask({ op: 'copy', to: path });
  }

  async close(): Promise<void> {
    if (this.#gone) return;
    await this.#ask({ op: 'close' });
    await this.#worker.terminate();
  }

  #ask<R extends Request>(request: R): Promise<Answers[R['op']]> {
    if (this.#gone) return Promise.reject(this.#gone);
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ ...request, id });
    });
  }

  #receive(m: FromWorker): void {
    if ('table' in m) return this.#loadPart(m.table, () => this.#loadRows(m.table, m.json));
    if ('jobEvents' in m) return this.#loadPart('job_events', () => this.#loadJobEvents(m.jobEvents));
    const waiting = this.#waiting.get(m.id);
    this.#waiting.delete(m.id);
    if ('value' in m) waiting?.resolve(m.value as never);
    else waiting?.reject(toError(m.error));
  }

  /** Rows that nobody of ours wrote so: nothing begins with a part of an inventory. */
  #loadPart(table: string, load: () => void): void {
    if (this.#gone) return;
    try {
      load();
    } catch (e) {
      const words = `the database is damaged: table ${table} has a row that cannot be read (${chain(e)})`;
      this.#fail(badState(`${words}. Put a backup back (berth-controller restore); the file is as it was`));
    }
  }

  #loadRows(table: Parameters<LoadSink['rows']>[0], json: string): void {
    const codec = codecOf(table);
    const rows = JSON.parse(json) as unknown[][];
    this.#sink?.rows(
      table,
      rows.map((row) => decode(codec, row)),
    );
  }

  #loadJobEvents(json: string): void {
    const rows = JSON.parse(json) as SqlValue[][];
    this.#sink?.jobEvents(rows.map((row) => ({ jobId: row[0] as JobId, event: toJobEvent(row) })));
  }

  #fail(e: Error): void {
    this.#gone ??= e;
    for (const w of this.#waiting.values()) w.reject(e);
    this.#waiting.clear();
  }
}

const text = (data: Json | undefined): string | null => (data === undefined ? null : JSON.stringify(data));

function toJobEvent(row: readonly SqlValue[]): JobEvent {
  const [, step, type, atMs, data] = row;
  const event = { step: step as string, type: type as JobEvent['type'], atMs: atMs as number };
  return data === null ? event : { ...event, data: JSON.parse(data as string) as Json };
}

function toStoredJob({ row, log }: WireJob): StoredJob {
  const body: unknown = JSON.parse(row.at(-1) as string);
  return { job: decode(codecOf('jobs'), [...row.slice(0, -1), body]) as Job, log: log.map(toJobEvent) };
}

const toError = (e: { reason: string | undefined; message: string }): Error =>
  e.reason !== undefined && isReason(e.reason) ? new ClusterError(e.reason, e.message) : new Error(e.message);
