/** Files made of images for somebody outside: the image as it is, or our own conversion of it. Whole or not at all. */
import { createReadStream } from 'node:fs';
import { chmod, chown, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { ExportFormat, ExportedFile, LongWork } from '../../disks.ts';
import type { Exec } from '../exec.ts';
import { sizeOf, tellingFull } from './files.ts';
import type { ImageStore } from './images.ts';
import type { Pool } from './pool.ts';
import { requireRoom } from './space.ts';
import type { Uploads } from './uploads.ts';

export interface ExportParts {
  readonly pool: Pool;
  readonly exec: Exec;
  readonly images: ImageStore;
  readonly uploads: Uploads;
}

const CHUNK_BYTES = 256 * 1024;
const SLACK_BYTES = 64 * 2 ** 20;
/** Those of a program that compresses, on a busy machine. */
const SLOWEST_BYTES_PER_S = 5 * 2 ** 20;
const OPTIONS: Readonly<Record<ExportFormat, readonly string[]>> = {
  qcow2: [],
  raw: [],
  vmdk: ['-o', 'subformat=streamOptimized'],
};

/** The caller keeps the image from being removed meanwhile. */
export async function exportImage(
  parts: ExportParts,
  exportId: string,
  about: { readonly digest: string; readonly format: ExportFormat },
  work: LongWork,
): Promise<ExportedFile> {
  const { uploads, pool } = parts;
  const image = await parts.images.get(about.digest);
  if (!(await uploads.has(exportId))) {
    if (about.format === 'qcow2') await uploads.link(exportId, pool.imagePath(about.digest));
    else
      await convertOut(
        parts,
        exportId,
        { ...about, virtualSizeBytes: image.virtualSizeBytes, fileBytes: image.fileBytes },
        work,
      );
  }
  const sha256 = await uploads.sourceDigest(exportId, work.signal);
  const file = await sizeOf(pool.uploadPath(exportId));
  if (!file) throw notFound(`export ${exportId} is gone`);
  return { fileBytes: file.size, virtualSizeBytes: image.virtualSizeBytes, sha256 };
}

interface Conversion {
  readonly digest: string;
  readonly format: ExportFormat;
  readonly virtualSizeBytes: number;
  readonly fileBytes: number;
}

async function convertOut(
  { pool, exec, uploads }: ExportParts,
  exportId: string,
  c: Conversion,
  work: LongWork,
): Promise<void> {
  await requireRoom(pool.uploadsDir, c.fileBytes, 'the export');
  const dir = pool.stagingPath(`export-${exportId}`);
  const user = await exec.sandboxUser();
  try {
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { mode: 0o700 });
    await chmod(dir, 0o700);
    await chown(dir, user.uid, user.gid);
    const target = join(dir, 'file');
    const args = [
      'convert',
      '-p',
      '-f',
      'qcow2',
      '-O',
      c.format,
      ...OPTIONS[c.format],
      pool.imagePath(c.digest),
      target,
    ];
    await tellingFull('the export', pool.stagingDir, () =>
      exec.runConfined('qemu-img', args, {
        ...{ signal: work.signal, timeoutMs: 0, what: 'making the file' },
        onOutput: (text) => {
          const done = Number([...text.matchAll(/\((\d+\.\d+)\/100%\)/g)].at(-1)?.[1] ?? NaN);
          if (!Number.isNaN(done)) work.onProgress(Math.floor((c.virtualSizeBytes * done) / 100), c.virtualSizeBytes);
        },
        limits: {
          fileBytes: Math.ceil(c.virtualSizeBytes * (65 / 64)) + SLACK_BYTES,
          cpuSeconds: 3_600 + Math.ceil(c.fileBytes / SLOWEST_BYTES_PER_S),
        },
      }),
    );
    await uploads.take(exportId, target, undefined);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Of a finished upload or export. */
export async function* readStaged(
  { pool, uploads }: ExportParts,
  id: string,
  offset: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  if (!(await uploads.has(id))) throw notFound(`there is no file ${id} on this host (any more); ask for it anew`);
  try {
    for await (const chunk of createReadStream(pool.uploadPath(id), {
      start: offset,
      highWaterMark: CHUNK_BYTES,
      signal,
    }))
      yield chunk as Buffer;
  } catch (e) {
    throw signal.aborted ? new ClusterError('CANCELLED', 'the reader left') : e;
  }
}
