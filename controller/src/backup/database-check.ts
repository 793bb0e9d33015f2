/** Whether a copy of a database is whole, and what is in it. Reads only; the copy is the caller's alone. */
import type { Database } from 'better-sqlite3';
import { badState, chain } from '@berth/shared/errors/cluster-error.ts';
import { Sqlite } from '../state/sqlite/library.ts';
import { MIGRATIONS } from '../state/sqlite/migrations.ts';
import type { DatabaseFacts } from './manifest.ts';

/** BAD_STATE when it is damaged, or newer than this program. */
export function checkDatabase(path: string): DatabaseFacts {
  let db: Database | undefined;
  try {
    db = new Sqlite(path, { fileMustExist: true });
    const schema = db.pragma('user_version', { simple: true }) as number;
    const newest = MIGRATIONS.at(-1)?.version ?? 0;
    if (schema > newest)
      throw badState(`its database has schema ${schema}, this version knows ${newest}: use the version that made it`);
    const problems = db.pragma('integrity_check(3)', { simple: true });
    if (problems !== 'ok') throw badState(`its database is damaged: ${String(problems).split('\n')[0]}`);
    if ((db.pragma('foreign_key_check') as unknown[]).length > 0)
      throw badState('its database is damaged: rows refer to rows that do not exist');
    checkBodies(db);
    return { schema, ...factsOf(db) };
  } catch (e) {
    if ((e as { code?: string }).code?.startsWith('SQLITE_')) throw badState(`its database is damaged (${chain(e)})`);
    throw e;
  } finally {
    db?.close();
  }
}

/** Whether what a controller will read as JSON is some. */
function checkBodies(db: Database): void {
  const bodies = db
    .prepare(
      "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'body' ORDER BY 1",
    )
    .pluck()
    .all() as string[];
  const bad = bodies.find((t) => db.prepare(`SELECT 1 FROM "${t}" WHERE NOT json_valid(body) LIMIT 1`).get());
  if (bad !== undefined) throw badState(`its database is damaged: table ${bad} has a row that cannot be read`);
}

function factsOf(db: Database): Omit<DatabaseFacts, 'schema'> {
  const meta = db.prepare('SELECT installation_id, epoch, revision FROM meta WHERE one = 1').raw().get() as
    [string, number, number] | undefined;
  if (!meta) throw badState('its database was never initialised');
  const tables = db
    .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
    .pluck()
    .all() as string[];
  const count = (table: string): number => db.prepare(`SELECT count(*) FROM "${table}"`).pluck().get() as number;
  const [installationId, epoch, revision] = meta;
  return { installationId, epoch, revision, rows: Object.fromEntries(tables.map((t) => [t, count(t)])) };
}
