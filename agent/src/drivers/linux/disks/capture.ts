/**
 * Copies of volumes that become images: byte for byte of one that nobody writes to, or what QEMU writes of a disk in use. Either
 * becomes a finished upload, which an import looks at, converts and installs. Nothing is opened as a disk here.
 */
import { chmod, chown, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { badState, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { CapturedDisk, LongWork } from '../../disks.ts';
import { runnable } from '../../volume-work.ts';
import type { Exec } from '../exec.ts';
import { sizeOf, tellingFull, withSource } from './files.ts';
import type { Pool } from './pool.ts';
import { readSidecar } from './sidecars.ts';
import { requireRoom } from './space.ts';
import type { Uploads } from './uploads.ts';

export interface CaptureParts {
  readonly pool: Pool;
  readonly exec: Exec;
  readonly uploads: Uploads;
}

const dirOf = (pool: Pool, uploadId: string): string => pool.stagingPath(`capture-${uploadId}`);

/** The caller sees to it that nobody writes to the volume. */
export async function captureVolume(
  { pool, exec, uploads }: CaptureParts,
  uploadId: string,
  volumeId: string,
  work: LongWork,
): Promise<void> {
  if (await uploads.has(uploadId)) return;
  const sidecar = await readSidecar(pool, volumeId);
  const path = sidecar && pool.volumePath(volumeId, sidecar.seed, sidecar.format);
  const file = path && (await sizeOf(path));
  if (!path || !file || sidecar.seed) throw notFound(`there is no disk ${volumeId} on this host`);
  const { imageDigest: base, format } = sidecar;
  if (format !== 'raw') await checkChain(pool, path, base);
  await requireRoom(pool.uploadsDir, file.allocated, 'the copy of the disk');
  const dir = dirOf(pool, uploadId);
  try {
    await freshDir(dir, 0o700);
    const copy = join(dir, 'disk');
    await tellingFull('the copy of the disk', pool.stagingDir, () =>
      exec.run('cp', ['--sparse=always', '--reflink=auto', '--', path, copy], {
        ...{ signal: work.signal, timeoutMs: 0, what: `copying disk ${volumeId}` },
      }),
    );
    await uploads.take(uploadId, copy, { format: runnable({ volumeId, format }), ...(base !== undefined && { base }) });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** What it is an overlay of must be its image's file, whole and here. */
async function checkChain(pool: Pool, path: string, base: string | undefined): Promise<void> {
  const { backingFile } = await withSource(path, path, readOwnQcow2);
  const wanted = base === undefined ? undefined : pool.imagePath(base);
  if (backingFile !== wanted || (wanted !== undefined && !(await sizeOf(wanted))))
    throw badState(
      `what the disk is based on is not whole on this host yet (${backingFile ?? 'nothing'}). Try again when it is`,
    );
}

/** Where QEMU may write a copy of a disk: an empty disk of its size, in a folder that nobody can list. */
export async function captureTarget({ pool }: CaptureParts, uploadId: string, sizeBytes: number): Promise<string> {
  const dir = dirOf(pool, uploadId);
  await freshDir(dir, 0o711);
  const path = join(dir, 'disk');
  // libvirt gives it to QEMU's user
  await writeFile(path, emptyQcow2(sizeBytes), { mode: 0o600 });
  return path;
}

/** QEMU is done with it. */
export async function captureDone({ pool, uploads }: CaptureParts, uploadId: string): Promise<void> {
  const dir = dirOf(pool, uploadId);
  const path = join(dir, 'disk');
  if (await sizeOf(path)) await uploads.take(uploadId, path, { format: 'qcow2' });
  if (!(await uploads.has(uploadId))) throw notFound(`the copy ${uploadId} of a disk is not on this host`);
  await rm(dir, { recursive: true, force: true });
}

export async function capturedDisk(
  { pool, uploads }: CaptureParts,
  uploadId: string,
): Promise<CapturedDisk | undefined> {
  const facts = await uploads.captured(uploadId);
  if (facts === undefined) return undefined;
  const path = pool.uploadPath(uploadId);
  const { format } = facts;
  if (format === 'raw') return { path, format, sizeBytes: (await stat(path)).size };
  await checkChain(pool, path, facts.base);
  return { path, format, sizeBytes: (await withSource(path, path, readOwnQcow2)).virtualSizeBytes };
}

export const dropCapture = (pool: Pool, uploadId: string): Promise<void> =>
  rm(dirOf(pool, uploadId), { recursive: true, force: true });

async function freshDir(dir: string, mode: number): Promise<void> {
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { mode });
  await chmod(dir, mode);
  await chown(dir, 0, 0);
}
