/** A file of this host as pieces, zeros counted. Whose it is, and what it may be used for, is decided by whoever asks. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { piecesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';

const READ_BYTES = 2 ** 20;
const SECTOR = 512;

export interface FilePieces {
  readonly fileBytes: number;
  readonly allocatedBytes: number;
  /** @param offset from there on. */
  pieces(signal: AbortSignal, offset?: number): AsyncIterable<Piece>;
}

/** @throws NOT_FOUND; CANCELLED while it is read. */
export async function filePieces(path: string, what: string): Promise<FilePieces> {
  const about = await stat(path).catch((e: NodeJS.ErrnoException) => {
    throw e.code === 'ENOENT' ? notFound(`the file of ${what} is not on this host: ${path}`) : e;
  });
  return {
    ...{ fileBytes: about.size, allocatedBytes: Math.min(about.size, about.blocks * SECTOR) },
    async *pieces(signal, offset = 0) {
      try {
        if (offset >= about.size) return;
        // what a guest adds after this was asked for is not part of it
        const range = { start: offset, end: about.size - 1 };
        for await (const chunk of createReadStream(path, { ...range, highWaterMark: READ_BYTES, signal }))
          yield* piecesOf(chunk as Buffer);
      } catch (e) {
        throw signal.aborted
          ? new ClusterError('CANCELLED', `the reading of ${what} was cancelled`, {}, { cause: e })
          : e;
      }
    },
  };
}
