/**
 * What a volume holds is overwritten where it lies on the host's disk, and the volume is blank afterwards, or its image again. The
 * blank file comes first, so whatever happens the volume is whole; the old one keeps its place until all of it is overwritten.
 */
import { link, lstat, open, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../../../disks.ts';
import { syncDir, syncFile } from '../files.ts';
import { connectNbd } from '../nbd-client.ts';
import type { Pool } from '../pool.ts';
import { lend, runnableFile, type OwnFile } from './own-file.ts';
import type { ResizeParts } from './resize.ts';
import { served, SERVED_EXPORT } from './served.ts';

const PIECE_BYTES = 4 * 2 ** 20;

const doomedPath = (pool: Pool, volumeId: string): string => join(pool.volumesDir, `.${volumeId}.wiping`);

/** The caller holds the volume's lock. Begun and not ended: goes on. */
export async function wipeVolume(parts: ResizeParts, volumeId: string, work: LongWork): Promise<void> {
  const { pool } = parts;
  const doomed = doomedPath(pool, volumeId);
  const file = await runnableFile(pool, volumeId);
  const [old, is] = [await inodeOf(doomed), await inodeOf(file.path)];
  // one that is cancelled before it has its turn runs all the same, for the sake of what an agent before has begun
  if (work.signal.aborted && (old === undefined || old === is)) {
    await forgetWiping(pool, volumeId);
    throw new ClusterError('CANCELLED', 'the wipe was cancelled before it began');
  }
  if (old === undefined) await link(file.path, doomed);
  if (old === undefined || old === is) await putBlank(pool, file);
  await overwrite(parts, doomed, work);
  await rm(doomed);
  // what was written to it since a wipe that was broken off
  if (old !== undefined && old !== is) await wipeVolume(parts, volumeId, work);
}

export const forgetWiping = (pool: Pool, volumeId: string): Promise<void> =>
  rm(doomedPath(pool, volumeId), { force: true });

const inodeOf = async (path: string): Promise<number | undefined> => (await lstat(path).catch(() => undefined))?.ino;

async function putBlank(pool: Pool, { sidecar, path, format, sizeBytes, backing }: OwnFile): Promise<void> {
  const half = join(pool.volumesDir, `.${sidecar.volumeId}.half`);
  try {
    await writeFile(half, format === 'raw' ? '' : emptyQcow2(sizeBytes, backing), { mode: 0o600 });
    if (format === 'raw') await truncate(half, sizeBytes);
    await syncFile(half);
    await rename(half, path);
    await syncDir(pool.volumesDir);
  } finally {
    await rm(half, { force: true });
  }
}

/** All that the file has on disk, its tables too, so it is looked at as plain bytes. */
async function overwrite(parts: ResizeParts, path: string, work: LongWork): Promise<void> {
  const { clock, exec } = parts;
  const zeros = Buffer.alloc(PIECE_BYTES);
  const handle = await open(path, 'r+');
  try {
    await lend(exec, path, () =>
      served(parts, { path, format: 'raw' }, work.signal, async (socketPath) => {
        const nbd = await connectNbd({ socketPath, exportName: SERVED_EXPORT, clock, signal: work.signal });
        try {
          for (let at = 0; at < nbd.sizeBytes;)
            for (const { offset, length, zero } of await nbd.blockStatus(at, nbd.sizeBytes - at)) {
              at = offset + length;
              for (let from = offset; !zero && from < at; from += PIECE_BYTES) {
                if (work.signal.aborted) throw new ClusterError('CANCELLED', 'the wipe was cancelled');
                await handle.write(zeros, 0, Math.min(PIECE_BYTES, at - from), from);
                work.onProgress(from, nbd.sizeBytes);
              }
            }
        } finally {
          nbd.close();
        }
      }),
    );
    await handle.sync();
  } finally {
    await handle.close();
  }
}
