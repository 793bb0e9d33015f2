/** What can only be read once, and has no size before its end, goes through a file of its own here, which is removed when it was sent. */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { piecesOf } from '@berth/shared/disk/pieces.ts';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { fileSource, type ByteSource } from './source.ts';

/** @param shown how people know it. */
export async function spooled(
  from: AsyncIterable<Uint8Array>,
  shown: string,
  signal: AbortSignal,
): Promise<ByteSource> {
  const dir = await mkdtemp(join(tmpdir(), 'berth-import-'));
  const gone = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    await pipeline(from, (bytes) => store(bytes, join(dir, 'file')), { signal });
    const file = await fileSource(join(dir, 'file'), shown);
    if (file.sizeBytes === 0) throw invalidArgument(`nothing came from ${shown}`);
    return { ...file, close: () => file.close().then(gone) };
  } catch (e) {
    await gone();
    if ((e as NodeJS.ErrnoException).code === 'ENOSPC')
      throw new ClusterError(
        'DISK_FULL',
        `no room in ${tmpdir()} for ${shown}: set TMPDIR, or save it to a file first`,
      );
    throw e;
  }
}

/** With holes for zeros: a disk that is mostly empty takes no more room here than where it came from. */
async function store(from: AsyncIterable<Uint8Array>, path: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    let at = 0;
    for await (const bytes of from) {
      for (const piece of piecesOf(bytes)) {
        if (typeof piece === 'number') at += piece;
        else
          for (let done = 0; done < piece.length;) {
            const { bytesWritten } = await file.write(piece, done, piece.length - done, at);
            done += bytesWritten;
            at += bytesWritten;
          }
      }
    }
    await file.truncate(at);
  } finally {
    await file.close();
  }
}
