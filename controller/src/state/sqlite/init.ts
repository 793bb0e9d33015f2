/** Makes a fresh database: once per installation, by `berth-controller init`. Never overwrites one. */
import { closeSync, fsyncSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { alreadyExists } from '@berth/shared/errors/cluster-error.ts';
import { newId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { openDatabase } from './connection.ts';

/** @returns what was written; epoch 1, revision 0. */
export function initState(o: { path: string; clock: Pick<Clock, 'now'> }): { readonly installationId: string } {
  mkdirSync(dirname(o.path), { recursive: true, mode: 0o700 });
  reserve(o.path);
  try {
    const installationId = newId('installation', o.clock.now());
    const db = openDatabase({ path: o.path, pid: process.pid, create: true });
    db.prepare('INSERT INTO meta (one, installation_id, epoch, revision) VALUES (1, ?, 1, 0)').run(installationId);
    db.close();
    syncDirectory(dirname(o.path));
    return { installationId };
  } catch (e) {
    for (const suffix of ['', '-wal', '-shm', '.pid']) rmSync(o.path + suffix, { force: true });
    throw e;
  }
}

function reserve(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'EEXIST') throw e;
    throw alreadyExists(`database ${path} already exists; start the controller with it, or move it away first`);
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
}
