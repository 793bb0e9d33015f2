/** The end of a log file, and what is added to it. Follows a file that is rotated or emptied; never one that is no plain file. */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { badState, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { LogLine, LogWanted } from '../../host-logs.ts';
import { LineReader, Tail, type Dating } from './lines.ts';

/** No more than the end of a file is looked at. */
const MOST_BYTES = 8 << 20;
const PIECE_BYTES = 64 << 10;
const POLL_MS = 300;

export interface FileLog {
  readonly path: string;
  readonly date: Dating;
  readonly clock: Clock;
  /** What is said when there is none. */
  readonly absent: string;
}

export async function* readFileLog(
  log: FileLog,
  wanted: Pick<LogWanted, 'sinceMs' | 'tailLines' | 'follow'>,
  signal: AbortSignal,
): AsyncGenerator<readonly LogLine[]> {
  let file = await openPlain(log);
  try {
    let at = Math.max(0, (await file.stat()).size - MOST_BYTES);
    const reader = new LineReader(log.date, wanted.sinceMs, at > 0);
    const tail = new Tail(wanted.tailLines);
    for await (const [text, next] of pieces(file, at)) {
      tail.add(reader.take(text));
      at = next;
    }
    if (!wanted.follow) tail.add(reader.end());
    yield tail.take();
    while (wanted.follow && !signal.aborted) {
      await log.clock.sleep(POLL_MS, signal).catch(() => undefined);
      for await (const [text, next] of pieces(file, at)) {
        yield reader.take(text);
        at = next;
      }
      const now = await again(log, file, at);
      if (now === undefined) continue;
      await file.close();
      ({ file, at } = now);
    }
  } finally {
    await file.close();
  }
}

/** Where to go on, when another file has its name now, or it was emptied. */
async function again(
  log: FileLog,
  file: FileHandle,
  at: number,
): Promise<{ file: FileHandle; at: number } | undefined> {
  const fresh = await openPlain(log).catch(() => undefined);
  if (fresh === undefined) return undefined;
  const [old, now] = [await file.stat(), await fresh.stat()];
  if (old.ino !== now.ino || old.dev !== now.dev || now.size < at) return { file: fresh, at: 0 };
  await fresh.close();
  return undefined;
}

async function openPlain(log: FileLog): Promise<FileHandle> {
  let file: FileHandle;
  try {
    // not a link, and no pipe that would be waited for
    file = await open(log.path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') throw notFound(log.absent);
    throw badState(`${log.path} cannot be read`, {}, e);
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw badState(`${log.path} is no plain file`);
}

async function* pieces(file: FileHandle, from: number): AsyncGenerator<readonly [text: string, next: number]> {
  const decoder = new TextDecoder();
  const buffer = Buffer.alloc(PIECE_BYTES);
  for (let at = from; ;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield [decoder.decode(buffer.subarray(0, bytesRead), { stream: true }), at];
  }
}
