/**
 * Opens the database file the only way it may be opened: exclusive, WAL, every commit synced, foreign keys on, schema
 * up to date; each of these is asserted, not hoped for. Reading and writing rows is database.ts's.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Database } from 'better-sqlite3';
import { badState, chain, notFound } from '@berth/shared/errors/cluster-error.ts';
import { Sqlite } from './library.ts';
import { MIGRATIONS, type Migration } from './migrations.ts';

export interface OpenOptions {
  readonly path: string;
  readonly pid: number;
  readonly create?: boolean;
  readonly migrations?: readonly Migration[];
  /** Leaves the schema as it is, whatever its age: for whoever only copies the file. */
  readonly asIs?: boolean;
}

export function openDatabase(o: OpenOptions): Database {
  const db = openFile(o);
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    takeLock(db, o);
    db.pragma('synchronous = FULL');
    db.pragma('foreign_keys = ON');
    db.pragma('cache_size = -65536');
    assertPragmas(db);
    if (o.asIs !== true) migrate(db, o.migrations ?? MIGRATIONS);
    return db;
  } catch (e) {
    db.close();
    throw e;
  }
}

function openFile(o: OpenOptions): Database {
  try {
    return new Sqlite(o.path, { fileMustExist: o.create !== true, timeout: 200 });
  } catch (e) {
    throw notFound(`cannot open database ${o.path} (${chain(e)}); create one with berth-controller init`, {}, e);
  }
}

const pidFile = (path: string): string => `${path}.pid`;

/** The lock is the file's own; the pid beside it is only for the words of whoever comes second. */
function takeLock(db: Database, o: OpenOptions): void {
  try {
    db.pragma('journal_mode = WAL');
    db.exec('BEGIN IMMEDIATE; COMMIT');
  } catch (e) {
    const code = (e as { code?: string }).code ?? '';
    if (!code.startsWith('SQLITE_BUSY')) throw badState(`${o.path} is not a usable database (${chain(e)})`, {}, e);
    const pid = readPid(o.path);
    const who = pid === undefined ? 'another controller' : `another controller (pid ${pid})`;
    throw badState(`database ${o.path} is in use by ${who}; stop that one first, or give this one its own database`);
  }
  writeFileSync(pidFile(o.path), `${o.pid}\n`, { mode: 0o600 });
}

function readPid(path: string): string | undefined {
  try {
    return /^\d+$/m.exec(readFileSync(pidFile(path), 'utf8'))?.[0];
  } catch {
    return undefined; // the holder may not have written it yet
  }
}

function assertPragmas(db: Database): void {
  const want = { journal_mode: 'wal', synchronous: 2, foreign_keys: 1, locking_mode: 'exclusive' } as const;
  for (const [pragma, value] of Object.entries(want)) {
    const is: unknown = db.pragma(pragma, { simple: true });
    if (is !== value)
      throw badState(`SQLite runs with ${pragma}=${String(is)} instead of ${value}: commits would not be safe`);
  }
}

export function migrate(db: Database, migrations: readonly Migration[]): void {
  const have = db.pragma('user_version', { simple: true }) as number;
  const newest = migrations.at(-1)?.version ?? 0;
  if (have > newest)
    throw badState(`the database has schema ${have}, this version knows ${newest}; run the version that wrote it`);
  const pending = migrations.filter((m) => m.version > have);
  if (pending.length === 0) return;
  try {
    db.transaction(() => {
      for (const m of pending) db.exec(m.sql);
      const broken = db.pragma('foreign_key_check') as unknown[];
      if (broken.length > 0) throw new Error('rows refer to rows that do not exist');
      db.pragma(`user_version = ${newest}`);
    })();
  } catch (e) {
    throw badState(
      `the database could not be migrated from schema ${have} to ${newest}; it is as it was (${chain(e)})`,
      {},
      e,
    );
  }
}
