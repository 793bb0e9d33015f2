/**
 * A copy of an open database by SQLite's online backup: consistent, also while the same connection commits; what is
 * committed meanwhile is in it. The file is held exclusively, so that no other process could make one.
 */
import { rmSync, writeFileSync } from 'node:fs';
import type { Database } from 'better-sqlite3';
import { chain, ClusterError } from '@berth/shared/errors/cluster-error.ts';

/** Between two portions commits have their turn. */
const PAGES_AT_ONCE = 1_000;

/**
 * For its owner alone from the first byte on: what VMs are given at their start is in it, and a copy may be left behind by
 * whoever is killed. Nothing is left at `to` when it fails. DISK_FULL; BAD_STATE, also where something is already.
 */
export async function copyDatabase(db: Database, to: string): Promise<void> {
  try {
    writeFileSync(to, '', { flag: 'wx', mode: 0o600 });
  } catch (e) {
    throw new ClusterError('BAD_STATE', `the database could not be copied to ${to} (${chain(e)})`, {}, { cause: e });
  }
  try {
    await db.backup(to, { progress: () => PAGES_AT_ONCE });
  } catch (e) {
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(to + suffix, { force: true });
    if ((e as { code?: string }).code === 'SQLITE_FULL')
      throw new ClusterError('DISK_FULL', `no room for a copy of the database at ${to}`, {}, { cause: e });
    throw new ClusterError('BAD_STATE', `the database could not be copied to ${to} (${chain(e)})`, {}, { cause: e });
  }
}
