/** Volumes that are copies of an image and rest on nothing: a conversion of our own file by a confined qemu-img, sparse as it is. */
import { chown, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { LongWork, VolumeSpec } from '../../disks.ts';
import type { Exec } from '../exec.ts';
import { takeFile } from '../take-file.ts';
import { convert } from './convert.ts';
import { syncDir, syncFile, tellingFull } from './files.ts';
import { ensureVolume, type VolumeParts } from './volumes.ts';

export type FullSpec = VolumeSpec & { readonly imageDigest: string };

/** Twice is once. The caller holds the volume's lock, and sees to it that the image stays until this has ended. */
export async function ensureFullClone(
  parts: VolumeParts & { readonly exec: Exec },
  spec: FullSpec,
  work: LongWork,
): Promise<void> {
  const own = { ...spec, imageDigest: undefined };
  await ensureVolume(parts, own, async (_parts, _spec, path) => {
    const image = await parts.images.get(spec.imageDigest);
    if (spec.sizeBytes < image.virtualSizeBytes)
      throw invalidArgument(
        `a disk of ${formatBytes(spec.sizeBytes)} is smaller than its image (${formatBytes(image.virtualSizeBytes)}); ask for that or more`,
      );
    await copy(parts, spec, path, { work, imageBytes: image.virtualSizeBytes });
  });
}

async function copy(
  { pool, exec }: VolumeParts & { readonly exec: Exec },
  spec: FullSpec,
  path: string,
  { work, imageBytes }: { readonly work: LongWork; readonly imageBytes: number },
): Promise<void> {
  const dir = pool.stagingPath(`full-${spec.volumeId}`);
  const target = join(dir, 'disk.qcow2');
  const about = { virtualSizeBytes: imageBytes, poolDir: pool.dataDir };
  try {
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
    await rename(target, path);
    await syncDir(pool.volumesDir);
    work.onProgress(imageBytes, imageBytes);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
