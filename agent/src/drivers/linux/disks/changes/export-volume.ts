/** Files made of volumes for somebody outside: a conversion by a confined qemu-img, with what is in the image. Whole or not at all. */
import { chown, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { notFound } from '@berth/shared/errors/cluster-error.ts';
import type { ExportedFile, LongWork } from '../../../disks.ts';
import type { FileFormat } from '../../../volume-work.ts';
import type { Exec } from '../../exec.ts';
import { sizeOf, tellingFull } from '../files.ts';
import type { Pool } from '../pool.ts';
import { requireRoom } from '../space.ts';
import type { Uploads } from '../uploads.ts';
import { lend, ownFile, type ReadFile } from './own-file.ts';
import type { ResizeParts } from './resize.ts';
import { mostBytes, sourceOf, tell } from './write-anew.ts';

export interface ExportVolumeParts extends ResizeParts {
  readonly uploads: Uploads;
}

/** What is made of which disk, under which name. */
export interface FileWanted {
  readonly exportId: string;
  readonly volumeId: string;
  readonly format: FileFormat;
}

export interface ExportParts {
  readonly pool: Pool;
  readonly exec: Exec;
  readonly uploads: Uploads;
}

const SLACK_BYTES = 64 * 2 ** 20;
/** Of a program that compresses, on a busy machine. */
const SLOWEST_BYTES_PER_S = 5 * 2 ** 20;
const OPTIONS: Readonly<Record<FileFormat, readonly string[]>> = {
  ...{ raw: [], qcow2: [], vdi: [] },
  vmdk: ['-o', 'subformat=streamOptimized'],
  vhdx: ['-o', 'subformat=dynamic'],
};

/** The caller holds the volume's lock. */
export async function exportVolume(
  parts: ExportVolumeParts,
  exportId: string,
  { volumeId, format }: { readonly volumeId: string; readonly format: FileFormat },
  work: LongWork,
): Promise<ExportedFile> {
  const file = await ownFile(parts.pool, volumeId);
  return exported(parts, exportId, file.sizeBytes, work, () =>
    inStaging(parts, exportId, (dir) => convertOut(parts, dir, file, { exportId, volumeId, format }, work)),
  );
}

/** Twice is once. @param make makes the finished upload. */
export async function exported(
  { uploads, pool }: ExportParts,
  exportId: string,
  virtualSizeBytes: number,
  { signal }: LongWork,
  make: () => Promise<void>,
): Promise<ExportedFile> {
  if (!(await uploads.has(exportId))) await make();
  const sha256 = await uploads.sourceDigest(exportId, signal);
  const file = await sizeOf(pool.uploadPath(exportId));
  if (!file) throw notFound(`export ${exportId} is gone`);
  return { fileBytes: file.size, virtualSizeBytes, sha256 };
}

/** A folder that the unprivileged user may write to, for as long as `fn` runs; a crash leaves it to the next start. */
export async function inStaging(
  { pool, exec }: ExportParts,
  exportId: string,
  fn: (dir: string) => Promise<void>,
): Promise<void> {
  const dir = pool.stagingPath(`export-${exportId}`);
  try {
    const { uid, gid } = await exec.sandboxUser();
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { mode: 0o700 });
    await chown(dir, uid, gid);
    await fn(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

export async function convertOut(
  { pool, exec, uploads }: ExportParts,
  dir: string,
  file: ReadFile,
  { exportId, volumeId, format }: FileWanted,
  work: LongWork,
): Promise<void> {
  const most = await mostBytes(file, undefined);
  await requireRoom(pool.uploadsDir, most, `the file of volume ${volumeId}`);
  const target = join(dir, 'file');
  const args = ['convert', '-p', '-O', format, ...OPTIONS[format], sourceOf(file), target];
  await tellingFull(`the file of volume ${volumeId}`, pool.stagingDir, () =>
    lend(exec, file.path, () =>
      exec.runConfined('qemu-img', args, {
        ...{ signal: work.signal, timeoutMs: 0, what: `making a file of volume ${volumeId}` },
        onOutput: (text) => tell(text, file.sizeBytes, work),
        limits: {
          fileBytes: Math.ceil(file.sizeBytes * (65 / 64)) + SLACK_BYTES,
          cpuSeconds: 3_600 + Math.ceil(most / SLOWEST_BYTES_PER_S),
        },
      }),
    ),
  );
  await uploads.take(exportId, target, undefined);
}
