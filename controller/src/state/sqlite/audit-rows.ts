/** Rows of the audit log in and out of an open database; nothing here changes one. The chain is audit-chain.ts's. */
import type { Database, Statement } from 'better-sqlite3';
import type { AuditOutcome, AuditRow } from '@berth/shared/model/audit.ts';
import type { AuditQuery } from '../state.ts';
import type { SqlValue } from './codec.ts';

const COLUMNS = `seq, revision, at_ms, user, token_id, peer, method, object_kind, object, outcome, reason, message, count,
  job_id, before, after, prev_hash, hash`;

export class AuditRows {
  readonly #insert: Statement;
  #prunedTo = 0;

  constructor(private readonly db: Database) {
    this.#insert = db.prepare(`INSERT INTO audit (${COLUMNS}) VALUES (${Array(18).fill('?').join(', ')})`);
  }

  /** Inside a transaction. @param prunedTo rows up to this one go. */
  add(rows: readonly AuditRow[], prunedTo: number): void {
    for (const r of rows)
      this.#insert.run(
        ...[r.seq, r.revision, r.atMs, r.user, r.tokenId, r.peer, r.method, r.objectKind, r.object],
        ...[r.outcome, r.reason, r.message, r.count, r.jobId, r.before, r.after, r.prevHash, r.hash],
      );
    if (prunedTo <= this.#prunedTo) return;
    this.db.prepare('DELETE FROM audit WHERE seq <= ?').run(prunedTo);
    this.#prunedTo = prunedTo;
  }

  read(q: AuditQuery): AuditRow[] {
    const given = {
      ...{ before: q.before, after: q.after, user: q.user, object: q.object, outcome: q.outcome, sinceMs: q.sinceMs },
    };
    const tests: Readonly<Record<keyof typeof given, string>> = {
      ...{ before: 'seq < @before', after: 'seq > @after', user: 'user = @user', object: 'object = @object' },
      ...{ outcome: 'outcome = @outcome', sinceMs: 'at_ms >= @sinceMs' },
    };
    const where = Object.entries(tests).flatMap(([k, test]) =>
      given[k as keyof typeof given] === undefined ? [] : test,
    );
    const order = q.after === undefined ? 'DESC' : 'ASC';
    const sql = `SELECT ${COLUMNS} FROM audit ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''} ORDER BY seq ${order} LIMIT @limit`;
    const bound = Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined));
    return (
      this.db
        .prepare(sql)
        .raw()
        .all({ ...bound, limit: q.limit }) as SqlValue[][]
    ).map(toRow);
  }
}

function toRow(row: SqlValue[]): AuditRow {
  const n = (i: number): number => row[i] as number;
  const s = (i: number): string => row[i] as string;
  return {
    ...{ seq: n(0), revision: n(1), atMs: n(2), user: s(3), tokenId: s(4), peer: s(5), method: s(6), objectKind: s(7) },
    ...{ object: s(8), outcome: s(9) as AuditOutcome, reason: s(10), message: s(11), count: n(12), jobId: s(13) },
    ...{ before: s(14), after: s(15), prevHash: s(16), hash: s(17) },
  };
}
