/**
 * Rows in and out of an open database. Runs in the worker, where nothing else waits for it. What rows mean is the
 * store's; which columns they have is codec.ts's.
 */
import type { Database, Statement } from 'better-sqlite3';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { AuditRow } from '@berth/shared/model/audit.ts';
import type { Event } from '@berth/shared/model/event.ts';
import { RETENTION, type EventQuery, type JobQuery, type Meta } from '../engine.ts';
import type { AuditQuery } from '../state.ts';
import { AuditRows } from './audit-rows.ts';
import { CODECS, columnNames, type Codec, type SqlValue } from './codec.ts';
import type { WireBatch, WireJob } from './protocol.ts';

const CHUNK_ROWS = 2_000;
const TRIM_EVERY = 1_000;

interface RowStatements {
  readonly upsert: Statement;
  readonly remove: Statement;
}

export class RowDatabase {
  readonly #rows = new Map<string, RowStatements>();
  readonly #begin: Statement;
  readonly #setRevision: Statement;
  readonly #addJobEvent: Statement;
  readonly #addEvent: Statement;
  readonly #auditRows: AuditRows;

  constructor(private readonly db: Database) {
    for (const c of CODECS) this.#rows.set(c.table, prepareRows(db, c));
    this.#auditRows = new AuditRows(db);
    this.#begin = db.prepare('BEGIN IMMEDIATE');
    this.#setRevision = db.prepare('UPDATE meta SET revision = ? WHERE one = 1 AND epoch = ?');
    this.#addJobEvent = db.prepare(
      'INSERT INTO job_events (job_id, seq, step, type, at_ms, data) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.#addEvent = db.prepare(
      'INSERT INTO events (revision, at_ms, type, severity, subject_kind, subject, message, job_id, labels) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
    );
  }

  meta(): Meta {
    const row = this.db.prepare('SELECT installation_id, epoch, revision FROM meta WHERE one = 1').raw().get() as
      [string, number, number] | undefined;
    if (!row) throw badState('the database was never initialised; create one with berth-controller init');
    const [last] = this.#auditRows.read({ limit: 1 });
    const auditHead = last && { seq: last.seq, hash: last.hash };
    return { installationId: row[0], epoch: row[1], revision: row[2], ...(auditHead && { auditHead }) };
  }

  /** Each chunk is the JSON of an array of rows: text crosses threads cheaply and is parsed once, on the other side. */
  loadRows(send: (table: Codec, json: string) => void): void {
    for (const c of CODECS) {
      const where = c.table === 'jobs' ? `WHERE id IN (${JOBS_IN_MEMORY})` : '';
      const select = this.db.prepare(`SELECT ${columnNames(c).join(', ')} FROM ${c.sqlTable} ${where} ORDER BY 1`);
      chunked(select.raw().iterate() as IterableIterator<SqlValue[]>, (json) => send(c, json));
    }
  }

  loadJobEvents(send: (json: string) => void): void {
    const select = this.db.prepare(`SELECT job_id, step, type, at_ms, data
      FROM job_events WHERE job_id IN (${JOBS_IN_MEMORY}) ORDER BY job_id, seq`);
    let chunk: unknown[] = [];
    for (const row of select.raw().iterate() as IterableIterator<SqlValue[]>) {
      if (chunk.push(row) < CHUNK_ROWS) continue;
      send(JSON.stringify(chunk));
      chunk = [];
    }
    send(JSON.stringify(chunk));
  }

  commit(batch: WireBatch, epoch: number): void {
    try {
      this.#commitOnce(batch, epoch, false);
    } catch (e) {
      if ((e as { code?: string }).code !== 'SQLITE_CONSTRAINT_UNIQUE') throw e;
      // Two rows swap a unique value inside one batch: take all changed rows out first, then put them in.
      this.#commitOnce(batch, epoch, true);
    }
  }

  #commitOnce(batch: WireBatch, epoch: number, removeFirst: boolean): void {
    this.#begin.run();
    try {
      if (this.#setRevision.run(batch.revision, epoch).changes !== 1)
        throw badState(`epoch ${epoch} may not write to this database any more`);
      for (const [table, key, row] of batch.rows)
        if (removeFirst || row === null) this.#rows.get(table)!.remove.run(key);
      for (const [table, , row] of batch.rows) if (row !== null) this.#rows.get(table)!.upsert.run(row);
      for (const e of batch.jobEvents) this.#addJobEvent.run(e);
      for (const e of batch.events)
        this.#addEvent.run(
          e.revision,
          e.atMs,
          e.type,
          e.severity,
          e.subjectKind,
          e.subject,
          e.message,
          e.jobId ?? null,
          e.labels === undefined ? null : JSON.stringify(e.labels),
        );
      this.#auditRows.add(batch.audit, batch.auditPrunedTo);
      if (batch.revision % TRIM_EVERY < batch.updates) this.#trim(batch.atMs);
      this.db.exec('COMMIT');
    } catch (e) {
      if (this.db.inTransaction) this.db.exec('ROLLBACK');
      throw e;
    }
  }

  /** History has a bound: the oldest events and the jobs that ended long ago go, a piece at a time. */
  #trim(nowMs: number): void {
    this.db.prepare('DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?').run(RETENTION.events);
    const old = this.db
      .prepare('SELECT id FROM jobs WHERE ended_at_ms < ? LIMIT 500')
      .pluck()
      .all(nowMs - RETENTION.endedJobsMs);
    for (const id of old) {
      this.db.prepare('DELETE FROM job_events WHERE job_id = ?').run(id);
      this.db.prepare('DELETE FROM jobs WHERE id = ?').run(id);
    }
  }

  audit(q: AuditQuery): readonly AuditRow[] {
    return this.#auditRows.read(q);
  }

  events(q: EventQuery): Event[] {
    const subject = q.subject ?? null;
    const columns = 'revision, at_ms, type, severity, subject_kind, subject, message, job_id, labels';
    const mine = '(@subject IS NULL OR subject = @subject)';
    const sql =
      q.afterRevision === undefined
        ? `SELECT * FROM (SELECT seq, ${columns} FROM events WHERE ${mine} ORDER BY seq DESC LIMIT @limit) ORDER BY seq`
        : `SELECT seq, ${columns} FROM events WHERE ${mine} AND revision > @after AND revision <= coalesce((SELECT revision
            FROM events WHERE ${mine} AND revision > @after ORDER BY revision LIMIT 1 OFFSET @limit - 1), 9e15) ORDER BY seq`;
    const after = q.afterRevision ?? 0;
    const rows = this.db
      .prepare(sql)
      .raw()
      .all({ subject, limit: q.limit, ...(q.afterRevision === undefined ? {} : { after }) });
    return (rows as SqlValue[][]).map(toEvent);
  }

  jobs(q: JobQuery): WireJob[] {
    const codec = CODECS.find((c) => c.table === 'jobs')!;
    const where = q.id !== undefined ? 'id = @id' : '(@before IS NULL OR id < @before)';
    const rows = this.db
      .prepare(`SELECT ${columnNames(codec).join(', ')} FROM jobs WHERE ${where} ORDER BY id DESC LIMIT @limit`)
      .raw()
      .all({ limit: q.limit, ...(q.id !== undefined ? { id: q.id } : { before: q.before ?? null }) }) as SqlValue[][];
    const log = this.db
      .prepare('SELECT job_id, step, type, at_ms, data FROM job_events WHERE job_id = ? ORDER BY seq')
      .raw();
    return rows.map((row) => ({ row, log: log.all(row[0]) as SqlValue[][] }));
  }
}

const JOBS_IN_MEMORY = `SELECT id FROM jobs WHERE ended_at_ms IS NULL UNION ALL
  SELECT id FROM (SELECT id FROM jobs WHERE ended_at_ms IS NOT NULL ORDER BY ended_at_ms DESC LIMIT ${RETENTION.endedJobsInMemory})`;

function prepareRows(db: Database, c: Codec): RowStatements {
  const names = columnNames(c);
  const key = names[0]!;
  const set = names.slice(1).map((n) => `${n} = excluded.${n}`);
  return {
    upsert: db.prepare(
      `INSERT INTO ${c.sqlTable} (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})
       ON CONFLICT (${key}) DO UPDATE SET ${set.join(', ')}`,
    ),
    remove: db.prepare(`DELETE FROM ${c.sqlTable} WHERE ${key} = ?`),
  };
}

/** The body is JSON already: it goes into the text as it is. */
function chunked(rows: IterableIterator<SqlValue[]>, send: (json: string) => void): void {
  let parts: string[] = [];
  for (const row of rows) {
    const body = row.pop() as string;
    parts.push(`${JSON.stringify(row).slice(0, -1)},${body}]`);
    if (parts.length < CHUNK_ROWS) continue;
    send(`[${parts.join(',')}]`);
    parts = [];
  }
  if (parts.length > 0) send(`[${parts.join(',')}]`);
}

function toEvent(row: SqlValue[]): Event {
  const [, revision, atMs, type, severity, subjectKind, subject, message, jobId, labels] = row;
  return {
    revision: revision as number,
    atMs: atMs as number,
    type: type as string,
    severity: severity as Event['severity'],
    subjectKind: subjectKind as Event['subjectKind'],
    subject: subject as string,
    message: message as string,
    jobId: (jobId as string | null) ?? undefined,
    ...(typeof labels === 'string' ? { labels: JSON.parse(labels) as Record<string, string> } : {}),
  };
}
