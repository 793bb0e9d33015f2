/**
 * Volumes that come from another place as files: read there as bytes, written here under a name that nobody uses until all is
 * there, on disk, and looked at. Nothing opens them as disks here.
 */
import { rename, rm, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { rebased, withBackingPath } from '@berth/shared/disk/qcow2-rebase.ts';
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { checkCarriedHeader, checkCarriedLength, HEAD_BYTES } from '../../../carried.ts';
import type { LongWork, VolumeSpec } from '../../../disks.ts';
import { runnable, type VolumeFile } from '../../../volume-work.ts';
import { filePieces } from '../../file-pieces.ts';
import { takeFile } from '../../take-file.ts';
import { sizeOf, syncDir, syncFile, withSource } from '../files.ts';
import type { Pool } from '../pool.ts';
import { readSidecar } from '../sidecars.ts';
import { requireRoom } from '../space.ts';
import type { Uploads } from '../uploads.ts';
import { ensureVolume, type VolumeParts } from '../volumes.ts';

export async function readVolume(pool: Pool, volumeId: string): Promise<VolumeFile> {
  const sidecar = await readSidecar(pool, volumeId);
  if (sidecar === undefined || sidecar.seed) throw notFound(`volume ${volumeId} is not on this host`);
  runnable({ volumeId, format: sidecar.format });
  return filePieces(pool.volumePath(volumeId, false, sidecar.format), `volume ${volumeId}`);
}

export async function stagedVolume(pool: Pool, uploads: Uploads, uploadId: string): Promise<VolumeFile> {
  if (!(await uploads.has(uploadId))) throw notFound(`there is no file ${uploadId} on this host (any more)`);
  const path = pool.uploadPath(uploadId);
  return { ...(await filePieces(path, `volume file ${uploadId}`)), ownPath: path };
}

/** The caller holds the volume's and the image's locks. */
export async function installVolume(
  parts: VolumeParts,
  spec: VolumeSpec,
  file: VolumeFile,
  work: LongWork,
): Promise<void> {
  const { pool } = parts;
  const backing = spec.imageDigest === undefined ? undefined : pool.imagePath(spec.imageDigest);
  const { ownPath } = file;
  if (ownPath !== undefined)
    return ensureVolume(parts, spec, async (_parts, _spec, path) => {
      await takeFile(ownPath, 0o600);
      if (backing !== undefined) await rebaseHere(ownPath, backing);
      await checkCarried(ownPath, spec, backing);
      await syncFile(ownPath);
      await rename(ownPath, path);
      await syncDir(pool.volumesDir);
    });
  checkCarriedLength(spec, file.fileBytes);
  await requireRoom(pool.volumesDir, file.allocatedBytes, `volume ${spec.volumeId}`);
  await ensureVolume(parts, spec, async (_parts, _spec, path) => {
    const half = join(pool.volumesDir, `.${spec.volumeId}.half`);
    try {
      const pieces = file.pieces(work.signal);
      await writeFile(half, backing === undefined ? pieces : rebased(pieces, backing), file.fileBytes, work);
      await checkCarried(half, spec, backing);
      await rename(half, path);
      await syncDir(pool.volumesDir);
    } finally {
      await rm(half, { force: true });
    }
  });
}

/** Twice is once. */
async function rebaseHere(path: string, backing: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    await writeAll(file, withBackingPath(buffer.subarray(0, bytesRead), backing), 0);
  } finally {
    await file.close();
  }
}

async function writeFile(path: string, pieces: AsyncIterable<Piece>, bytes: number, work: LongWork): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    let at = 0;
    for await (const piece of pieces) {
      if (work.signal.aborted) throw work.signal.reason;
      if (at + lengthOf(piece) > bytes) throw new ClusterError('INTERNAL', `more than ${bytes} bytes of a disk came`);
      if (typeof piece !== 'number') await writeAll(file, piece, at);
      at += lengthOf(piece);
      work.onProgress(at, bytes);
    }
    if (at !== bytes) throw new ClusterError('INTERNAL', `${at} of ${bytes} bytes of a disk came`);
    await file.truncate(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length;)
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
}

/** It refers to its image and to nothing else, and is as large as it should be. @throws UNSAFE_IMAGE */
async function checkCarried(path: string, spec: VolumeSpec, backing: string | undefined): Promise<void> {
  if (spec.format === 'raw') return checkCarriedLength(spec, (await sizeOf(path))?.size ?? 0);
  checkCarriedHeader(await withSource(path, `volume ${spec.volumeId}`, readOwnQcow2), spec, backing);
}
