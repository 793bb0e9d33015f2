/**
 * An upload on its way to become a volume: our own look at it, our own conversion of it, as an import of an image does it. What is
 * converted lies in one staging folder until it is taken, or given up; a crash leaves that to the next start.
 */
import { chmod, chown, link, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { inspectDiskImage } from '@berth/shared/disk/inspect.ts';
import { notFound } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork, VolumeFormat } from '../../../disks.ts';
import type { UploadedDisk } from '../../../volume-work.ts';
import type { Exec } from '../../exec.ts';
import { filePieces } from '../../file-pieces.ts';
import { takeFile } from '../../take-file.ts';
import { convert } from '../convert.ts';
import { tellingFull, withSource } from '../files.ts';
import type { Pool } from '../pool.ts';
import type { Uploads } from '../uploads.ts';

export interface UploadedParts {
  readonly pool: Pool;
  readonly exec: Exec;
  readonly uploads: Uploads;
}

/** How people know the file until somebody puts its name in (`meta.subject`). */
const SUBJECT = 'the uploaded file';

/** One at a time per upload: the caller sees to that. */
export async function openUploaded(
  parts: UploadedParts,
  uploadId: string,
  { fileFormat, format }: { readonly fileFormat: string; readonly format: VolumeFormat },
  work: LongWork,
): Promise<UploadedDisk> {
  const { pool, exec, uploads } = parts;
  if (!(await uploads.has(uploadId))) throw notFound(`upload ${uploadId} is not on this host; send the file again`);
  const sourceDigest = await uploads.sourceDigest(uploadId, work.signal);
  const found = await withSource(pool.uploadPath(uploadId), SUBJECT, (s) => inspectDiskImage(s, fileFormat));
  const sizeBytes = found.virtualSizeBytes;
  const dir = pool.stagingPath(`volume-${uploadId}`);
  const gone = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    const source = await stage(parts, dir, uploadId);
    const target = join(dir, 'disk');
    const about = { virtualSizeBytes: sizeBytes, poolDir: pool.dataDir, subject: 'the volume' };
    await convert(exec, { ...about, source, target, format: found.format, to: format }, work.signal, (done) =>
      work.onProgress(Math.floor(sizeBytes * done), sizeBytes),
    );
    await takeFile(target, 0o600);
    const file = await filePieces(target, 'the volume that was uploaded');
    return { ...file, ownPath: target, sizeBytes, sourceDigest, close: gone };
  } catch (e) {
    await gone();
    throw e;
  }
}

/** A folder that the unprivileged user may write to, with the upload in it under a second name. */
async function stage({ exec, pool }: UploadedParts, dir: string, uploadId: string): Promise<string> {
  const { uid, gid } = await exec.sandboxUser();
  const source = join(dir, 'source');
  await tellingFull('the volume', pool.stagingDir, async () => {
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { mode: 0o700 });
    await link(pool.uploadPath(uploadId), source);
    await chmod(source, 0o400);
    await chown(source, uid, gid);
    await chown(dir, uid, gid);
  });
  return source;
}
