/** A process that opens a database with a migration of so many rows (without a number: for ever), for somebody who ends it in the middle. */
import { openDatabase } from '@berth/controller/state/sqlite/connection.ts';
import { MIGRATIONS } from '@berth/controller/state/sqlite/migrations.ts';

const [path, rows = '1000000'] = process.argv.slice(2) as [string, string?];
const version = MIGRATIONS.at(-1)!.version + 1;
// each row is a page or more, so that the write-ahead log grows past what is kept in memory, until somebody ends it
const sql = `CREATE TABLE big (x BLOB) STRICT; DELETE FROM events; UPDATE vms SET name = name || '-migrated';
  INSERT INTO big WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT zeroblob(65536) FROM n LIMIT ${rows};`;
process.stdout.write('begins\n');
openDatabase({ path, pid: process.pid, migrations: [...MIGRATIONS, { version, sql }] }).close();
