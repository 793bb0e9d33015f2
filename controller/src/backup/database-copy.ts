/**
 * A copy of the database for a backup: through the running controller, which holds the file exclusively, or, when none runs,
 * from the file itself. An old schema stays as it is: a backup is what one makes before an upgrade.
 */
import { existsSync, rmSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { isReason } from '@berth/shared/errors/reasons.ts';
import { openDatabase } from '../state/sqlite/connection.ts';
import { copyDatabase } from '../state/sqlite/copy.ts';
import { paths } from '../trust/identity.ts';
import { ControlAnswer } from './control.ts';
import { controlSocket } from './control-path.ts';

export interface DatabaseCopy {
  readonly path: string;
  readonly online: boolean;
  remove(): void;
}

/** @param beside a path that may be used for the copy when no controller runs. */
export async function takeCopy(dataDir: string, beside: string): Promise<DatabaseCopy> {
  const socket = await connect(controlSocket(dataDir));
  return socket ? askController(socket) : copyFile(paths(dataDir).database, beside);
}

async function copyFile(database: string, to: string): Promise<DatabaseCopy> {
  if (!existsSync(database))
    throw badState(`there is no database at ${database}: is this a controller's data directory?`);
  const db = openDatabase({ path: database, pid: process.pid, asIs: true });
  try {
    await copyDatabase(db, to);
  } finally {
    db.close();
  }
  const remove = (): void => ['', '-wal', '-shm'].forEach((s) => rmSync(to + s, { force: true }));
  return { path: to, online: false, remove };
}

/** Undefined when nobody listens: no controller runs. */
function connect(path: string | undefined): Promise<Socket | undefined> {
  if (path === undefined || !existsSync(path)) return Promise.resolve(undefined);
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (e: NodeJS.ErrnoException) => {
      const gone = e.code === 'ECONNREFUSED' || e.code === 'ENOENT';
      if (gone) resolve(undefined);
      else reject(badState(`the running controller cannot be asked through ${path}`, {}, e));
    });
  });
}

async function askController(socket: Socket): Promise<DatabaseCopy> {
  socket.write(`${JSON.stringify({ op: 'copyDatabase' })}\n`);
  const line = await new Promise<string>((resolve, reject) => {
    const gone = (): void => reject(badState('the controller stopped while it made the copy; try again'));
    socket.on('error', () => undefined).once('close', gone);
    createInterface({ input: socket }).once('line', resolve);
  });
  const answer = ControlAnswer.parse(JSON.parse(line));
  if ('path' in answer) return { path: answer.path, online: true, remove: () => void socket.destroy() };
  socket.destroy();
  const { reason, message } = answer.error;
  throw new ClusterError(isReason(reason) ? reason : 'INTERNAL', message);
}
