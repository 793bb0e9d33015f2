/**
 * Where downloads go: a file, under another name until it is whole, with holes for zeros; or standard output. What a command before
 * this one has left of a file can be gone on with: that it is of the same file, the hash of all tells in the end.
 */
import { once } from 'node:events';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { lengthOf, piecesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { Context } from './context.ts';
import type { DownloadSink } from './download.ts';
import { unwritable } from './files.ts';

export interface Out extends DownloadSink {
  /** Whole. */
  end(): Promise<void>;
  /** Given up. @param keep what has come, for the next try */
  drop(keep?: boolean): Promise<void>;
  bytes(): number;
}

const ZEROS = Buffer.alloc(1024 * 1024);

/** @param resume goes on with what a try before has left. */
export async function toFile(path: string, force: boolean, resume = false): Promise<Out> {
  const half = `${path}.part`;
  if (!force) {
    const there = await open(path, 'r').catch(() => undefined);
    await there?.close();
    if (there) throw invalidArgument(`${path} exists already. To write over it: --force`);
  }
  const left = resume ? await open(half, 'r+').catch(() => undefined) : undefined;
  const handle: FileHandle =
    left ??
    (await open(half, 'w+').catch((e: Error) => {
      throw unwritable(path, e);
    }));
  let at = left ? (await handle.stat()).size : 0;
  return {
    begin: async () => undefined,
    write: async (piece) => {
      if (typeof piece !== 'number')
        for (let done = 0; done < piece.length;)
          done += (await handle.write(piece, done, piece.length - done, at + done)).bytesWritten;
      at += lengthOf(piece);
    },
    ...(resume && {
      had: () => readBack(handle, at),
      async again() {
        await handle.truncate(0);
        at = 0;
      },
    }),
    async end() {
      await handle.truncate(at);
      await handle.sync();
      await handle.close();
      await rename(half, path);
    },
    async drop(keep = false) {
      if (keep) await handle.truncate(at).catch(() => undefined);
      await handle.close().catch(() => undefined);
      if (!keep || at === 0) await rm(half, { force: true });
    },
    bytes: () => at,
  };
}

async function* readBack(handle: FileHandle, bytes: number): AsyncGenerator<Piece> {
  const buffer = Buffer.alloc(ZEROS.length);
  for (let at = 0; at < bytes;) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, bytes - at), at);
    if (bytesRead === 0) return;
    yield* piecesOf(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

/** Whoever reads it may leave before its end: that ends the download, as a failure, and what its host has made for it. */
export function toPipe({ stdout, finishUnread }: Pick<Context, 'stdout' | 'finishUnread'>): Out {
  let at = 0;
  let left = false;
  finishUnread();
  (stdout as Writable).once('error', () => (left = true));
  const write = async (bytes: Uint8Array): Promise<void> => {
    if (!left && !(stdout as Writable).write(bytes)) await once(stdout, 'drain').catch(() => (left = true));
    if (left)
      throw new ClusterError('CANCELLED', `nobody reads standard output any more, after ${formatFileBytes(at)} of it`);
  };
  return {
    begin: async () => undefined,
    async write(piece) {
      if (typeof piece !== 'number') await write(piece);
      else
        for (let zeros = piece; zeros > 0; zeros -= ZEROS.length)
          await write(ZEROS.subarray(0, Math.min(zeros, ZEROS.length)));
      at += lengthOf(piece);
    },
    end: async () => undefined,
    drop: async () => undefined,
    bytes: () => at,
  };
}

/** Tells how far it is. */
export function shownIn(out: Out, show: (doneBytes: number, allBytes: number) => void): DownloadSink {
  let all = 0;
  const { had, again } = out;
  return {
    async begin(about) {
      all = about.fileBytes;
      await out.begin(about);
    },
    async write(piece) {
      await out.write(piece);
      show(out.bytes(), Math.max(all, out.bytes()));
    },
    ...(had && { had }),
    ...(again && { again }),
  };
}
