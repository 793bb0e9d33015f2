/**
 * Volumes that come from another place as files: read there as bytes, written here under a name that nobody uses until all is
 * there, on disk, and looked at. Nothing opens them as disks here.
 */
import { rename, rm, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { EXTENSION, INCOMPATIBLE } from '@berth/shared/disk/qcow2-header.ts';
import { readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { rebased } from '@berth/shared/disk/qcow2-rebase.ts';
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork, VolumeSpec } from '../../../disks.ts';
import type { VolumeFile } from '../../../volume-work.ts';
import { filePieces } from '../../file-pieces.ts';
import { sizeOf, syncDir, withSource } from '../files.ts';
import type { Pool } from '../pool.ts';
import { readSidecar } from '../sidecars.ts';
import { requireRoom } from '../space.ts';
import { ensureVolume, type VolumeParts } from '../volumes.ts';

const ACCEPTED = INCOMPATIBLE.dirty | INCOMPATIBLE.compression | INCOMPATIBLE.extendedL2;

export async function readVolume(pool: Pool, volumeId: string): Promise<VolumeFile> {
  const sidecar = await readSidecar(pool, volumeId);
  if (sidecar === undefined || sidecar.seed) throw notFound(`volume ${volumeId} is not on this host`);
  return filePieces(pool.volumePath(volumeId, false, sidecar.format), `volume ${volumeId}`);
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

async function writeFile(path: string, pieces: AsyncIterable<Piece>, bytes: number, work: LongWork): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    let at = 0;
    for await (const piece of pieces) {
      if (work.signal.aborted) throw work.signal.reason;
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
export async function checkCarried(path: string, spec: VolumeSpec, backing: string | undefined): Promise<void> {
  const refuse = (why: string): Error =>
    new ClusterError('UNSAFE_IMAGE', `the file of volume ${spec.volumeId} is not taken: it ${why}`);
  const size = (await sizeOf(path))?.size;
  if (spec.format === 'raw') {
    if (size !== spec.sizeBytes) throw refuse(`has ${size} bytes, and should have ${spec.sizeBytes}`);
    return;
  }
  const header = await withSource(path, `volume ${spec.volumeId}`, readOwnQcow2);
  const other = header.extensions.get(EXTENSION.dataFile);
  if (header.backingFile !== backing || other !== undefined)
    throw refuse(`refers to ${other ?? header.backingFile ?? 'no image'}`);
  if ((header.incompatible & ~ACCEPTED) !== 0n || header.encryption !== 0)
    throw refuse('has features that Berth does not use');
  if (header.virtualSizeBytes !== spec.sizeBytes)
    throw refuse(`is a disk of ${header.virtualSizeBytes} bytes, and should have ${spec.sizeBytes}`);
}
