/** A file of this host as pieces, zeros counted. Whose it is, and what it may be used for, is decided by whoever asks. */
import { createHash } from 'node:crypto';
import { constants, type BigIntStats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { piecesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';

const READ_BYTES = 2 ** 20;
const SECTOR = 512;

export interface FilePieces {
  readonly fileBytes: number;
  readonly allocatedBytes: number;
  /** @param offset from there on. */
  pieces(signal: AbortSignal, offset?: number): AsyncIterable<Piece>;
  /** Another as soon as somebody has written to it. */
  readonly origin: string;
}

/** @throws NOT_FOUND; CANCELLED while it is read. */
export async function filePieces(path: string, what: string): Promise<FilePieces> {
  const first = await openFile(path, what);
  const about = await first.stat({ bigint: true }).finally(() => first.close());
  const fileBytes = Number(about.size);
  return {
    ...{ fileBytes, allocatedBytes: Math.min(fileBytes, Number(about.blocks) * SECTOR), origin: originOf(about) },
    async *pieces(signal, offset = 0) {
      try {
        if (offset >= fileBytes) return;
        // what a guest adds after this was asked for is not part of it
        const range = { start: offset, end: fileBytes - 1 };
        const file = await openFile(path, what);
        for await (const chunk of file.createReadStream({ ...range, highWaterMark: READ_BYTES, signal }))
          yield* piecesOf(chunk as Buffer);
      } catch (e) {
        throw signal.aborted
          ? new ClusterError('CANCELLED', `the reading of ${what} was cancelled`, {}, { cause: e })
          : e;
      }
    },
  };
}

const originOf = ({ dev, ino, birthtimeNs, mtimeNs, size }: BigIntStats): string =>
  createHash('sha256').update([dev, ino, birthtimeNs, mtimeNs, size].join(' ')).digest('hex').slice(0, 32);

/** Its folder may be another account's, which could have put a link to any file of this host in its place, or a pipe. */
async function openFile(path: string, what: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (e: NodeJS.ErrnoException) => {
      if (e.code === 'ENOENT') throw notFound(`the file of ${what} is not on this host: ${path}`);
      throw e.code === 'ELOOP' || e.code === 'ENXIO' ? noFile(path, what) : e;
    },
  );
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw noFile(path, what);
}

const noFile = (path: string, what: string): ClusterError =>
  new ClusterError('UNSAFE_IMAGE', `the file of ${what} is not read: ${path} is no file. Somebody changed it by hand`);
