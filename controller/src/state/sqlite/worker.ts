/**
 * The SQLite thread: the only place that holds the database while the controller runs, so that an fsync never blocks
 * the event loop. Bundled to controller/dist/sqlite-worker.js. One request at a time, in order, but for a copy: commits go on
 * while that is made.
 */
import { dirname } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import type { Database } from 'better-sqlite3';
import { chain, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { diskTrouble } from '../disk-trouble.ts';
import { openDatabase } from './connection.ts';
import { copyDatabase } from './copy.ts';
import { RowDatabase } from './database.ts';
import type { Answers, FromWorker, ToWorker, WorkerData } from './protocol.ts';

const port = parentPort!;
const { path } = workerData as WorkerData;
let db: Database | undefined;
let rows: RowDatabase | undefined;

const send = (m: FromWorker): void => port.postMessage(m);

function load(): Answers['load'] {
  db = openDatabase({ path, pid: process.pid });
  rows = new RowDatabase(db);
  const meta = rows.meta();
  rows.loadRows((codec, json) => send({ table: codec.table, json }));
  rows.loadJobEvents((json) => send({ jobEvents: json }));
  return meta;
}

async function copy(to: string): Promise<undefined> {
  await copyDatabase(db!, to);
  return undefined;
}

function answer(m: Exclude<ToWorker, { op: 'copy' }>): Answers[keyof Answers] {
  if (m.op === 'load') return load();
  if (m.op === 'close') return void db?.close();
  if (m.op === 'commit') return void rows!.commit(m.batch, m.epoch);
  if (m.op === 'audit') return rows!.audit(m.query);
  return m.op === 'events' ? rows!.events(m.query) : rows!.jobs(m.query);
}

port.on('message', (m: ToWorker) => {
  const failed = (e: unknown): void => {
    const said = diskTrouble(e, dirname(path)) ?? e;
    send({ id: m.id, error: { reason: isClusterError(said) ? said.reason : undefined, message: chain(said) } });
  };
  try {
    if (m.op === 'copy') copy(m.to).then((value) => send({ id: m.id, value }), failed);
    else send({ id: m.id, value: answer(m) });
  } catch (e) {
    failed(e);
  }
  if (m.op === 'close') port.close();
});
