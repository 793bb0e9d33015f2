/** The chain of the audit log: each row's hash is over its content and the hash before it. Pure. */
import { createHash } from 'node:crypto';
import type { AuditEntry, AuditHead, AuditRow } from '@berth/shared/model/audit.ts';

/** Before the first row. */
export const GENESIS: AuditHead = { seq: 0, hash: '0'.repeat(64) };

/** Fields in a fixed order: what a row's hash is over. */
const content = (r: Omit<AuditRow, 'hash'>): string =>
  JSON.stringify([
    ...[r.seq, r.revision, r.atMs, r.user, r.tokenId, r.peer, r.method, r.objectKind, r.object],
    ...[r.outcome, r.reason, r.message, r.count, r.jobId, r.before, r.after, r.prevHash],
  ]);

const hashOf = (r: Omit<AuditRow, 'hash'>): string => createHash('sha256').update(content(r)).digest('hex');

export function chained(entry: AuditEntry, revision: number, head: AuditHead): AuditRow {
  const row = { ...entry, revision, seq: head.seq + 1, prevHash: head.hash };
  return { ...row, hash: hashOf(row) };
}

/** Why this row can't follow that head; undefined when it does. */
export function brokenBy(row: AuditRow, head: AuditHead): string | undefined {
  if (row.seq !== head.seq + 1)
    return row.seq === head.seq + 2
      ? `row ${head.seq + 1} is missing`
      : `rows ${head.seq + 1} to ${row.seq - 1} are missing`;
  if (row.hash !== hashOf(row)) return `row ${row.seq} is not as it was written`;
  if (row.prevHash !== head.hash) return `row ${row.seq} does not follow row ${head.seq}: one of the two was replaced`;
  return undefined;
}
