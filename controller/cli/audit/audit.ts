/** berth audit list, verify: the audit log. */
import type { AuditRow } from '@berth/proto/v1/audit.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { parseDuration } from '@berth/shared/units/duration.ts';
import { count, OUTPUT, text, type Command, type Flags } from '../core/command.ts';
import { print, type Context } from '../core/context.ts';
import { time } from '../core/words.ts';
import { forPeople, renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';

const PAGE = 1_000;

const outcome = (r: AuditRow): string => [r.outcome, r.count > 1 ? `${r.count} times` : ''].filter(Boolean).join(', ');

const columns: Column<AuditRow>[] = [
  { title: 'ROW', cell: (r) => String(r.seq), right: true },
  { title: 'TIME', cell: (r) => time(r.atMs) },
  { title: 'USER', cell: (r) => r.user },
  { title: 'FROM', cell: (r) => r.peer, spare: 1 },
  { title: 'METHOD', cell: (r) => r.method },
  { title: 'OBJECT', cell: (r) => [r.objectKind, r.object].filter(Boolean).join(' ') },
  { title: 'OUTCOME', cell: outcome },
  { title: 'JOB', cell: (r) => r.jobId, wide: true },
  { title: 'TOKEN', cell: (r) => r.tokenId, wide: true },
  { title: 'BEFORE', cell: (r) => r.before, wide: true },
  { title: 'AFTER', cell: (r) => r.after, wide: true },
  { title: 'WHY', cell: (r) => r.message, prose: true },
];

export const auditList: Command = {
  noun: 'audit',
  verb: 'list',
  summary: 'list changes and refused attempts, the newest last',
  details: 'What was changed, before and after, is shown with -o wide, json or yaml. Secrets are left out.',
  args: [],
  flags: [
    OUTPUT,
    { spec: '--user <user>', description: 'only by this user', kind: 'user' },
    { spec: '--object <name>', description: 'only about the object of this name' },
    { spec: '--outcome <outcome>', description: 'done, failed or refused', choices: ['done', 'failed', 'refused'] },
    { spec: '--since <duration>', description: 'only of the last 24h, 30m, …' },
    { spec: '--limit <n>', description: 'at most so many, the newest (default 100)' },
  ],
  async run(ctx, _args, flags) {
    const rows = await newest(ctx, flags, count(flags, 'limit', 100));
    renderList(ctx, flags, { rows: rows.reverse(), columns, name: (r) => String(r.seq), empty: 'no such rows' });
  },
};

async function newest(ctx: Context, flags: Flags, limit: number): Promise<AuditRow[]> {
  const api = await ctx.api();
  const since = text(flags, 'since');
  const filter = {
    ...{ user: text(flags, 'user') ?? '', object: text(flags, 'object') ?? '', outcome: text(flags, 'outcome') ?? '' },
    sinceMs: since === undefined ? 0n : BigInt(Math.max(0, ctx.clock.now() - parseDuration(since))),
  };
  const rows: AuditRow[] = [];
  let pageToken = '';
  do {
    const page = { pageSize: Math.min(PAGE, limit - rows.length), pageToken };
    const r = await api.call(api.audit, (c) => c.listAudit, { page, ...filter });
    rows.push(...r.rows);
    pageToken = r.nextPageToken;
  } while (pageToken !== '' && rows.length < limit);
  return rows;
}

export const auditVerify: Command = {
  noun: 'audit',
  verb: 'verify',
  summary: 'check that no row was changed or taken out',
  details: `Each row holds the hash of the row before it. Note the head that this prints somewhere else: with --head, the check
fails when that row is not there any more, or not the same, however well the rest was rewritten.`,
  args: [],
  flags: [OUTPUT, { spec: '--head <head>', description: 'a row that was noted elsewhere, as this prints it' }],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const v = await api.call(api.audit, (c) => c.verifyAudit, { head: text(flags, 'head') ?? '' });
    if (!forPeople(flags)) renderList(ctx, flags, { rows: [v], columns: [], name: (r) => r.head, empty: '' });
    if (!v.ok) throw new ClusterError('DIGEST_MISMATCH', `the audit log is broken at row ${v.brokenSeq}: ${v.problem}`);
    if (forPeople(flags)) print(ctx, `${v.rows} rows hold together, from row ${v.firstSeq}. Head:\n${v.head}`);
  },
};

export const auditCommands: readonly Command[] = [auditList, auditVerify];
