/**
 * `berth-controller backup`: one file with all that a controller needs to come back. Made beside its final name, read back and
 * checked, and only then given that name, so that a half or bad file is never taken for a backup.
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, linkSync, openSync, readdirSync, renameSync } from 'node:fs';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { alreadyExists, badState, chain, ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { readInstallation } from '../trust/identity.ts';
import { seal } from './cipher.ts';
import { checkDatabase } from './database-check.ts';
import { takeCopy, type DatabaseCopy } from './database-copy.ts';
import { CONFIG, DATA, FORMAT, MANIFEST, SEAL, type Manifest } from './manifest.ts';
import { filesOf, openPart, type Part } from './parts.ts';
import { readBackup } from './read-backup.ts';
import { writeTar, type TarFile } from './tar.ts';

export interface BackupOptions {
  readonly dataDir: string;
  readonly to: string;
  /** Kept in the backup where there is one. */
  readonly configFile: string | undefined;
  readonly passphrase: string | undefined;
  readonly version: string;
  readonly clock: Pick<Clock, 'now'>;
}

export interface MadeBackup {
  readonly manifest: Manifest;
  readonly bytes: number;
}

/** DISK_FULL, ALREADY_EXISTS; nothing is left when it fails. */
export async function makeBackup(o: BackupOptions): Promise<MadeBackup> {
  const to = resolve(o.to);
  if (existsSync(to)) throw alreadyExists(`${to} exists already: a backup never replaces a file. Choose another name`);
  if (!existsSync(dirname(to))) throw notFound(`there is no folder ${dirname(to)} for the backup`);
  readInstallation(o.dataDir);
  sweep(to);
  const half = `${to}.half-${process.pid}`;
  const copyPath = `${half}.db`;
  const parts: Part[] = [];
  let copy: DatabaseCopy | undefined;
  try {
    copy = await takeCopy(o.dataDir, copyPath);
    const manifest = await manifestOf(o, copy, parts);
    await write(half, o, manifest, parts);
    await readBackup(half, o.passphrase);
    const { size } = statSync(half);
    giveName(half, to);
    return { manifest, bytes: size };
  } catch (e) {
    throw tellingFull(e, to);
  } finally {
    for (const { file } of parts) await file.close();
    copy?.remove();
    rmSync(half, { force: true });
  }
}

/** @param parts gets what is opened, also when it fails */
async function manifestOf(o: BackupOptions, copy: DatabaseCopy, parts: Part[]): Promise<Manifest> {
  const facts = checkDatabase(copy.path);
  const { installationId } = readInstallation(o.dataDir);
  if (facts.installationId !== installationId)
    throw badState(`${o.dataDir} mixes two installations: its database is of ${facts.installationId}`);
  parts.push(await openPart(`${DATA}berth.db`, copy.path));
  for (const file of filesOf(o.dataDir)) parts.push(await openPart(`${DATA}${relative(o.dataDir, file)}`, file));
  if (o.configFile !== undefined) parts.push(await openPart(CONFIG, o.configFile));
  return {
    format: FORMAT,
    kind: 'berth-controller',
    version: o.version,
    createdAtMs: o.clock.now(),
    online: copy.online,
    database: facts,
    parts: parts.map((p) => p.row),
  };
}

async function write(half: string, o: BackupOptions, manifest: Manifest, parts: readonly Part[]): Promise<void> {
  const file = await open(half, 'wx', 0o600);
  try {
    const plain = writeTar(tarFiles(manifest, parts));
    for await (const chunk of o.passphrase === undefined ? plain : seal(plain, o.passphrase))
      await writeAll(file, chunk);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A write to a disk that is nearly full may take only a part; the next one then says why. */
async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
}

function* tarFiles(manifest: Manifest, parts: readonly Part[]): Generator<TarFile> {
  const text = Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`);
  const common = { mode: 0o600, mtimeMs: manifest.createdAtMs };
  yield { ...common, path: MANIFEST, bytes: text.length, data: () => once(text) };
  for (const { row, file } of parts)
    yield { ...common, ...row, data: () => file.createReadStream({ start: 0, autoClose: false }) };
  const sum = Buffer.from(createHash('sha256').update(text).digest('hex'));
  yield { ...common, path: SEAL, bytes: sum.length, data: () => once(sum) };
}

async function* once(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(chunk);
}

/** Never over a file that came meanwhile; where the file system knows no links, as nearly as can be. */
function giveName(half: string, to: string): void {
  try {
    linkSync(half, to);
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw alreadyExists(`${to} exists already: a backup never replaces a file`);
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP') throw e;
    renameSync(half, to);
  }
  const dir = openSync(dirname(to), 'r');
  fsyncSync(dir);
  closeSync(dir);
}

/** What a backup to the same name left when it was killed. */
function sweep(to: string): void {
  for (const name of readdirSync(dirname(to))) {
    const pid = new RegExp(`^${escape(basename(to))}\\.half-(\\d+)(\\.db(-wal|-shm|-journal)?)?$`).exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(dirname(to), name), { force: true });
  }
}

const escape = (s: string): string => s.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function tellingFull(e: unknown, to: string): unknown {
  const { code } = e as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG')
    return new ClusterError(
      'DISK_FULL',
      `no room for the backup in ${dirname(to)}; nothing was left there`,
      {},
      { cause: e },
    );
  return code === undefined ? e : badState(`the backup ${to} could not be written (${chain(e)})`, {}, e);
}

/** From a file, because a command line can be seen by everybody. The last line end is not part of it. */
export function readPassphrase(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    const text = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
    if (text.length < 8) throw badState(`the passphrase in ${file} is too short: use 8 letters or more`);
    return text;
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === undefined) throw e;
    throw notFound(`the passphrase cannot be read from ${file}`, {}, e);
  }
}
