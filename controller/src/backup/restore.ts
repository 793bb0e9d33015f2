/**
 * `berth-controller restore`: makes a data directory out of a backup. Everything is unpacked and checked before the marker that
 * makes it an installation is put in place, last of all; what fails before leaves nothing. The epoch is raised above whatever
 * hosts have seen, so that they obey this copy and no other; put-back.ts decides what becomes of yesterday's work.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { openDatabase } from '../state/sqlite/connection.ts';
import { openState } from '../state/open-state.ts';
import { paths } from '../trust/identity.ts';
import { writeSecretFile } from '../trust/store.ts';
import { CONFIG, DATA, type Manifest } from './manifest.ts';
import { putBack, type PutBack } from './put-back.ts';
import { unpackBackup } from './read-backup.ts';

export interface RestoreOptions {
  readonly file: string;
  readonly dataDir: string;
  readonly passphrase: string | undefined;
  /** Undefined: seconds since 1970, or one more than the backup's where that is higher. */
  readonly epoch: number | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly workerFile?: string | URL;
}

export interface Restored extends PutBack {
  readonly manifest: Manifest;
  readonly epoch: number;
  /** Where the configuration of then lies, when the backup has it. */
  readonly configFile: string | undefined;
}

const WORK = '.restoring';

export async function restoreBackup(o: RestoreOptions): Promise<Restored> {
  const dataDir = resolve(o.dataDir);
  const made = takeEmpty(dataDir);
  const work = join(dataDir, WORK);
  try {
    mkdirSync(work, { recursive: true, mode: 0o700 });
    const manifest = await unpackBackup(o.file, o.passphrase, work);
    const epoch = epochOf(o, manifest);
    raise(paths(join(work, DATA)).database, epoch, o.clock.now());
    const back = await bringBack({ ...o, dataDir: join(work, DATA) }, manifest);
    const configFile = install(work, dataDir, manifest);
    return { manifest, epoch, configFile, ...back };
  } catch (e) {
    clear(dataDir, made);
    throw e;
  }
}

/** @returns whether the folder was made. */
function takeEmpty(dataDir: string): boolean {
  if (!existsSync(dataDir)) {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    return true;
  }
  const left = readdirSync(dataDir).filter((n) => n !== 'lost+found');
  if (left.length === 0) return false;
  if (left.every((n) => n === WORK))
    throw badState(`${dataDir} holds what an interrupted restore left: remove ${join(dataDir, WORK)}, then try again`);
  if (existsSync(paths(dataDir).database)) refuseRunning(dataDir);
  throw badState(
    `${dataDir} is not empty: a restore never replaces anything. Give a new folder, or move the old one away`,
  );
}

function refuseRunning(dataDir: string): void {
  const pid = Number(/^\d+$/m.exec(readText(`${paths(dataDir).database}.pid`))?.[0]);
  if (!Number.isInteger(pid) || pid === 0 || !existsSync(`/proc/${pid}`)) return;
  if (!/berth-controller/.test(readText(`/proc/${pid}/cmdline`))) return;
  throw badState(
    `a controller (pid ${pid}) runs on ${dataDir}: stop it and move ${dataDir} away, or restore into another folder`,
  );
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/**
 * Time, because neither the backup nor this machine can know what later restores of the same backup have raised it to; the
 * last restore wins. A machine whose clock was wrong then needs to be told: agents say what they have seen.
 */
function epochOf(o: RestoreOptions, { database }: Manifest): number {
  if (o.epoch === undefined) return Math.max(database.epoch + 1, Math.floor(o.clock.now() / 1000));
  if (Number.isSafeInteger(o.epoch) && o.epoch > database.epoch) return o.epoch;
  throw invalidArgument(`the epoch must be above that of the backup (${database.epoch})`);
}

/** More than any controller commits in a second. */
const REVISIONS_PER_MS = 1_000;

/**
 * The revision too: what watches go on from must not have been given out by the controller of before, or by a former restore,
 * for something else. Older schemas are brought up to date here, on the unpacked copy.
 */
function raise(database: string, epoch: number, nowMs: number): void {
  const db = openDatabase({ path: database, pid: process.pid });
  try {
    db.prepare('UPDATE meta SET epoch = ?, revision = max(revision + 1, ?) WHERE one = 1').run(
      epoch,
      nowMs * REVISIONS_PER_MS,
    );
  } finally {
    db.close();
  }
}

async function bringBack(o: RestoreOptions, manifest: Manifest): Promise<PutBack> {
  let fault: unknown;
  const { clock, log, workerFile } = o;
  const where = workerFile === undefined ? {} : { workerFile };
  const path = paths(o.dataDir).database;
  const state = await openState({ path, clock, log, onFatal: (e) => (fault = e), ...where });
  try {
    const back = await state.update((tx) => putBack(tx, manifest.createdAtMs));
    if (fault !== undefined) throw fault;
    return back;
  } finally {
    await state.close();
    rmSync(`${path}.pid`, { force: true });
  }
}

/** The marker last: before it the folder is no installation, whatever happens. */
function install(work: string, dataDir: string, manifest: Manifest): string | undefined {
  const from = join(work, DATA);
  const marker = readFileSync(paths(from).marker, 'utf8');
  rmSync(paths(from).marker);
  for (const name of readdirSync(from)) renameSync(join(from, name), join(dataDir, name));
  const hasConfig = manifest.parts.some((p) => p.path === CONFIG);
  const configFile = join(dataDir, 'controller.yaml.restored');
  if (hasConfig) renameSync(join(work, CONFIG), configFile);
  rmSync(work, { recursive: true });
  writeSecretFile(paths(dataDir).marker, marker);
  return hasConfig ? configFile : undefined;
}

function clear(dataDir: string, made: boolean): void {
  if (made) return rmSync(dataDir, { recursive: true, force: true });
  for (const name of readdirSync(dataDir))
    if (name !== 'lost+found') rmSync(join(dataDir, name), { recursive: true, force: true });
}
