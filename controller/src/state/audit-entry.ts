/** The audit row of an update: what it changed in the rows that people know, before and after, without secrets. Pure reads. */
import type { AuditEntry } from '@berth/shared/model/audit.ts';
import type { Job } from '@berth/shared/model/job.ts';
import { redact } from '@berth/shared/model/redact.ts';
import type { Actor } from './actor.ts';
import type { Journal } from './journal.ts';
import type { TableName } from './state.ts';
import type { MemTables } from './tables.ts';

type Value = Readonly<Record<string, unknown>>;

/** In the order in which a change is named after them; other tables follow from these. */
const SHOWN: readonly (readonly [TableName, kind: string])[] = [
  ['users', 'user'],
  ['tokens', 'token'],
  ['vms', 'vm'],
  ['images', 'image'],
  ['volumes', 'volume'],
  ['clusters', 'cluster'],
  ['pools', 'pool'],
  ['networks', 'network'],
  ['hosts', 'host'],
  ['joinTokens', 'joinToken'],
  ['certificates', 'certificate'],
  ['reviews', 'review'],
  ['jobs', 'job'],
];
const LONGEST = 64 * 1024;
/** Counters that say nothing about what was wanted. */
const DULL: readonly string[] = ['generation', 'wakeAtMs'];

interface Touched {
  readonly kind: string;
  readonly name: string;
  readonly id: string;
  readonly isNew: boolean;
  readonly before: Value | undefined;
  readonly after: Value | undefined;
}

/** Undefined when only inner rows were touched. */
export function auditEntry(
  actor: Actor,
  journal: Journal<TableName>,
  tables: MemTables,
  nowMs: number,
): AuditEntry | undefined {
  const all = SHOWN.flatMap(([table, kind]) => touchedOf(table, kind, journal, tables));
  const [first] = all;
  if (first === undefined) return undefined;
  const job = all.find((t) => t.kind === 'job');
  const about = aboutOf(first);
  const { tokenId, peer, method } = actor;
  const user = actor.user || loggedIn(first);
  return {
    ...{ atMs: nowMs, user, tokenId, peer, method, objectKind: about.kind, object: about.name },
    ...{ outcome: 'done', reason: '', message: '', count: 1, jobId: job?.id ?? '' },
    before: text(all, (t) => t.before),
    after: text(all, (t) => t.after),
  };
}

/** Who starts a job changes what the job works on: `audit list --object web` must tell who stopped and who deleted web. */
function aboutOf({ kind, name, isNew, after }: Touched): { readonly kind: string; readonly name: string } {
  if (kind !== 'job' || !isNew) return { kind, name };
  const { kind: jobKind, subject } = after as Pick<Job, 'kind' | 'subject'>;
  const noun = jobKind.split('.', 1)[0] ?? '';
  return SHOWN.some(([, shown]) => shown === noun) ? { kind: noun, name: subject } : { kind, name };
}

/** Who logs in is known only by the token that this makes. */
function loggedIn({ kind, before, after }: Touched): string {
  const user = kind === 'token' && before === undefined ? after?.['user'] : undefined;
  return typeof user === 'string' ? user : '';
}

function touchedOf(table: TableName, kind: string, journal: Journal<TableName>, tables: MemTables): Touched[] {
  return [...(journal.touched.get(table) ?? [])].map((id) => {
    const before = journal.before(table, id) as Value | undefined;
    const after = tables[table].get(id) as Value | undefined;
    const some = after ?? before;
    const name = typeof some?.['name'] === 'string' ? some['name'] : id;
    return { kind, name, id, isNew: before === undefined, before: part(before, after), after: part(after, before) };
  });
}

/** Of a changed row the fields that differ; of a new or a removed one all. */
function part(value: Value | undefined, other: Value | undefined): Value | undefined {
  if (value === undefined || other === undefined) return value;
  const differ = Object.entries(value).filter(
    ([k, v]) => !DULL.includes(k) && JSON.stringify(v) !== JSON.stringify(other[k]),
  );
  return Object.fromEntries(differ);
}

function text(all: readonly Touched[], of: (t: Touched) => Value | undefined): string {
  const entries = all.flatMap((t) => {
    const value = of(t);
    return value === undefined ? [] : [[`${t.kind}/${t.name}`, redact(value)] as const];
  });
  if (entries.length === 0) return '';
  const json = JSON.stringify(Object.fromEntries(entries));
  if (json.length <= LONGEST) return json;
  return JSON.stringify({ tooLong: `${json.length} letters`, objects: entries.slice(0, 100).map(([name]) => name) });
}
