/** AuditService: the audit log, read and checked. */
import type { AuditServiceService } from '@berth/proto/v1/audit.ts';
import type { Audit } from '../app/audit.ts';
import { headText } from '../app/audit-verify.ts';
import { fromWire, toWire } from './numbers.ts';
import { toQuery } from './page.ts';
import type { Handlers } from './call.ts';

export const auditHandlers = (audit: Audit): Handlers<AuditServiceService> => ({
  listAudit: async (r) => {
    const { user, object, outcome } = r;
    const filter = { user, object, outcome, sinceMs: fromWire('since_ms', r.sinceMs) };
    const { items, nextPageToken } = await audit.list(filter, toQuery(r.page));
    const rows = items.map((row) => ({
      ...row,
      ...{ seq: toWire(row.seq), atMs: toWire(row.atMs), revision: toWire(row.revision) },
    }));
    return { rows, nextPageToken };
  },
  verifyAudit: async (r) => {
    const v = await audit.verify(r.head);
    return {
      ...{ ok: v.ok, problem: v.problem, head: headText(v.head) },
      ...{ rows: toWire(v.rows), firstSeq: toWire(v.firstSeq), brokenSeq: toWire(v.brokenSeq) },
    };
  },
});
