/** Volumes that are copies of an image and rest on nothing: a conversion of our own file by a confined qemu-img, sparse as it is. */
import { chown, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { LongWork, VolumeSpec } from '../../disks.ts';
import type { StagedDisk } from '../../volume-work.ts';
import type { Exec } from '../exec.ts';
import { filePieces } from '../file-pieces.ts';
import { takeFile } from '../take-file.ts';
import { convert } from './convert.ts';
import { syncDir, syncFile, tellingFull } from './files.ts';
import { ensureVolume, type VolumeParts } from './volumes.ts';

export type FullSpec = VolumeSpec & { readonly imageDigest: string };

type Parts = Pick<VolumeParts, 'pool' | 'images'> & { readonly exec: Exec };

/** Twice is once. The caller holds the volume's lock, and sees to it that the image stays until this has ended. */
export async function ensureFullClone(
  parts: VolumeParts & { readonly exec: Exec },
  spec: FullSpec,
  work: LongWork,
): Promise<void> {
  const { pool } = parts;
  const own = { ...spec, imageDigest: undefined };
  await ensureVolume(parts, own, async (_parts, _spec, path) => {
    const staged = await stageFullClone(parts, spec, work);
    try {
      await rename(staged.ownPath, path);
      await syncDir(pool.volumesDir);
    } finally {
      await staged.close();
    }
  });
}

/** As `BlockWork.copyImage`. The caller sees to it that the image stays until this has ended. */
export async function stageFullClone(
  parts: Parts,
  spec: FullSpec,
  work: LongWork,
): Promise<StagedDisk & { readonly ownPath: string }> {
  const { virtualSizeBytes } = await parts.images.get(spec.imageDigest);
  if (spec.sizeBytes < virtualSizeBytes)
    throw invalidArgument(
      `a disk of ${formatBytes(spec.sizeBytes)} is smaller than its image (${formatBytes(virtualSizeBytes)}); ask for that or more`,
    );
  const dir = parts.pool.stagingPath(`full-${spec.volumeId}`);
  const close = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    const target = await copy(parts, spec, dir, { work, imageBytes: virtualSizeBytes });
    return { ...(await filePieces(target, `the file of volume ${spec.volumeId}`)), ownPath: target, close };
  } catch (e) {
    await close();
    throw e;
  }
}

/** @returns the file in the folder, which is made for it */
async function copy(
  { pool, exec }: Parts,
  spec: FullSpec,
  dir: string,
  { work, imageBytes }: { readonly work: LongWork; readonly imageBytes: number },
): Promise<string> {
  const target = join(dir, 'disk.qcow2');
  const about = { virtualSizeBytes: imageBytes, poolDir: pool.dataDir };
  const user = await exec.sandboxUser();
  await tellingFull(`volume ${spec.volumeId}`, pool.stagingDir, async () => {
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { mode: 0o700 });
    await chown(dir, user.uid, user.gid);
  });
  const conversion = { ...about, source: pool.imagePath(spec.imageDigest), format: 'qcow2' as const, target };
  await convert(exec, conversion, work.signal, (f) => work.onProgress(Math.floor(imageBytes * f), imageBytes));
  if (spec.sizeBytes > imageBytes) {
    const args = ['resize', '-q', '-f', 'qcow2', target, String(spec.sizeBytes)];
    await exec.runConfined('qemu-img', args, {
      ...{ signal: work.signal, what: `growing volume ${spec.volumeId}` },
      limits: { fileBytes: Math.ceil(spec.sizeBytes * 1.05) + 64 * 2 ** 20 },
    });
  }
  if (work.signal.aborted) throw new ClusterError('CANCELLED', 'the copying of the image was cancelled');
  await takeFile(target, 0o600);
  await syncFile(target);
  work.onProgress(imageBytes, imageBytes);
  return target;
}
