/**
 * Serial console logs, written by libvirt's virtlogd, which also rotates them: vm.log, then vm.log.0, vm.log.1 … with what is
 * older. A position names a file (by inode and birth, since names move on) and an offset in it, so it stays good over rotations
 * and restarts of anybody. Reads in bounded pieces, and keeps nothing in memory.
 */
import { open, readdir, rm, type FileHandle } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { SerialFrom, SerialPiece } from '../../disks.ts';
import { codeOf } from './files.ts';
import type { Pool } from './pool.ts';
import { KEPT_BYTES } from './serial-bound.ts';

const MAX_READ_BYTES = 4 * 2 ** 20;
/** virtlogd takes no higher number of backups that makes sense; a bound on how many files a read opens. */
const MOST_FILES = 32;

interface LogFile {
  readonly handle: FileHandle;
  /** Of the file, whatever it is called. */
  readonly id: string;
  readonly size: number;
  /** Where what is kept of it begins. */
  readonly begin: number;
}

/** @throws INVALID_ARGUMENT for a position that is none. */
export async function readSerialLog(
  pool: Pool,
  vmId: string,
  from: SerialFrom,
  maxBytes: number,
): Promise<SerialPiece> {
  const base = pool.serialLogPath(vmId);
  const wanted = 'position' in from ? parse(from.position) : undefined;
  const files = await openLogs(base, wanted?.id);
  try {
    const newest = files[0];
    if (newest === undefined) return { data: new Uint8Array(), position: '', gap: wanted !== undefined };
    const start = wanted ? resume(files, wanted) : 'position' in from ? oldest(files) : tail(files, from.lastBytes);
    return await readFrom(files, start, Math.min(maxBytes, MAX_READ_BYTES));
  } finally {
    await Promise.all(files.map((f) => f.handle.close()));
  }
}

/**
 * Newest first, each file once. Rotation only ever moves a file on to a higher number, so going upwards misses none; and what
 * is older than the first was closed by its writer before the first came to be: its end is final.
 * @param only when this is the newest, the others are left alone.
 */
async function openLogs(base: string, only: string | undefined): Promise<LogFile[]> {
  const files: LogFile[] = [];
  try {
    for (let i = -1; i < MOST_FILES; i++) {
      const file = await openLog(i < 0 ? base : `${base}.${i}`);
      if (file === undefined && i >= 0) break;
      if (file === undefined) continue; // between two steps of a rotation there is no newest
      if (files.some((f) => f.id === file.id)) await file.handle.close();
      else files.push(file);
      if (file.id === only && i < 0) break;
    }
    return files;
  } catch (e) {
    await Promise.all(files.map((f) => f.handle.close()));
    throw e;
  }
}

async function openLog(path: string): Promise<LogFile | undefined> {
  let handle;
  try {
    handle = await open(path, 'r');
  } catch (e) {
    if (codeOf(e) === 'ENOENT') return undefined;
    throw e;
  }
  const { ino, birthtimeNs, size } = await handle.stat({ bigint: true });
  const bytes = Number(size);
  return {
    handle,
    id: `${ino.toString(36)}-${birthtimeNs.toString(36)}`,
    size: bytes,
    begin: Math.max(0, bytes - KEPT_BYTES),
  };
}

interface Place {
  readonly at: number;
  readonly offset: number;
  readonly gap: boolean;
}

interface Position {
  readonly id: string;
  readonly offset: number;
}

const POSITION = /^([0-9a-z]{1,16}-[0-9a-z]{1,16})-([0-9a-z]{1,11})$/;

/** Undefined: the beginning of what is kept. */
function parse(position: string): Position | undefined {
  if (position === '') return undefined;
  const [, id, digits] = POSITION.exec(position) ?? [];
  const offset = Number.parseInt(digits ?? '', 36);
  if (id === undefined || !Number.isSafeInteger(offset))
    throw invalidArgument(`"${position.slice(0, 80)}" is no position in a serial log`);
  return { id, offset };
}

function resume(files: readonly LogFile[], { id, offset }: Position): Place {
  const at = files.findIndex((f) => f.id === id);
  const file = files[at];
  if (file === undefined || offset > file.size) return { ...oldest(files), gap: true };
  return { at, offset: Math.max(offset, file.begin), gap: offset < file.begin };
}

const oldest = (files: readonly LogFile[]): Place => ({
  at: files.length - 1,
  offset: files.at(-1)?.begin ?? 0,
  gap: false,
});

function tail(files: readonly LogFile[], lastBytes: number): Place {
  let left = lastBytes;
  for (const [at, file] of files.entries()) {
    const here = file.size - file.begin;
    if (left <= here) return { at, offset: file.size - left, gap: false };
    left -= here;
  }
  return oldest(files);
}

/** From the first file at or after the place that has something. */
async function readFrom(files: readonly LogFile[], place: Place, maxBytes: number): Promise<SerialPiece> {
  let { at, offset } = place;
  for (;;) {
    const file = files[at]!;
    const buffer = Buffer.alloc(Math.max(0, Math.min(maxBytes, file.size - offset)));
    const { bytesRead } = await file.handle.read(buffer, 0, buffer.length, offset);
    if (bytesRead > 0 || at === 0 || maxBytes === 0)
      return {
        data: buffer.subarray(0, bytesRead),
        position: `${file.id}-${(offset + bytesRead).toString(36)}`,
        gap: place.gap,
      };
    at--;
    offset = files[at]!.begin;
  }
}

/** With what virtlogd rotated away: vm.log.0, vm.log.1, … */
export async function removeSerialLog(pool: Pool, vmId: string): Promise<void> {
  const name = basename(pool.serialLogPath(vmId));
  for (const entry of await readdir(pool.serialDir))
    if (entry === name || (entry.startsWith(`${name}.`) && /^\d+$/.test(entry.slice(name.length + 1))))
      await rm(join(pool.serialDir, entry), { force: true });
}
