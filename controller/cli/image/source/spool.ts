/** What can only be read once, and has no size before its end, goes through a file of its own here, which is removed when it was sent. */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
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
    await pipeline(from, createWriteStream(join(dir, 'file'), { mode: 0o600 }), { signal });
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
