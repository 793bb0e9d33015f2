/**
 * A volume of the host's own folder in another format, or in the same without what is zero. The new file comes under its name as a
 * whole; until its sidecar says otherwise, the old one is the volume. How it is written is write-anew.ts's.
 */
import { rename, rm } from 'node:fs/promises';
import { readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { isForeign, KEPT_FORMATS } from '@berth/shared/model/volume.ts';
import type { LongWork } from '../../../disks.ts';
import { formatOf, type RewriteSpec } from '../../../volume-work.ts';
import { sizeOf, syncDir, withSource } from '../files.ts';
import type { Pool } from '../pool.ts';
import { listSidecars, writeSidecar } from '../sidecars.ts';
import { requireRoom } from '../space.ts';
import { lend, ownFile, type OwnFile } from './own-file.ts';
import type { ResizeParts } from './resize.ts';
import { mostBytes, sourceOf, writeAnew } from './write-anew.ts';

/** The caller holds the volume's and the image's locks. @param mayReplace as `VolumeWork.rewrite` */
export async function rewriteVolume(
  parts: ResizeParts,
  volumeId: string,
  wanted: RewriteSpec,
  work: LongWork,
  mayReplace?: () => Promise<void>,
): Promise<void> {
  const { pool, exec } = parts;
  const { format } = wanted;
  const file = await ownFile(pool, volumeId);
  if (wanted.ifOther && format === file.format && wanted.imageDigest === file.sidecar.imageDigest) return;
  if (isForeign(format) && file.sidecar.vmId !== '')
    throw badState(`volume ${volumeId} belongs to ${file.sidecar.vmId}: no vm runs with ${format}`);
  const base = await baseOf(parts, file, wanted);
  await requireRoom(pool.volumesDir, await mostBytes(file, base), `the new file of volume ${volumeId}`);
  const dir = pool.stagingPath(`rewrite-${volumeId}`);
  try {
    const anew = {
      ...file,
      volumeId,
      source: sourceOf(file),
      clusterBytes: await clusterOf(file),
      to: { format, base },
    };
    const target = await lend(exec, file.path, () => writeAnew(parts, dir, anew, work));
    await mayReplace?.();
    await install(pool, file, target, wanted);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** File of the image that it shall be an overlay of. */
async function baseOf(
  { pool, images }: ResizeParts,
  file: OwnFile,
  { format, imageDigest }: RewriteSpec,
): Promise<string | undefined> {
  const { volumeId, imageDigest: was } = file.sidecar;
  // the file and what is noted of it would change at two moments
  if (format === file.format && was !== imageDigest)
    throw badState(`volume ${volumeId} is ${format} and stays so: then it stays on ${was ?? 'no image'} as well`);
  if (imageDigest === undefined) return undefined;
  if (format !== 'qcow2')
    throw invalidArgument(`volume ${volumeId} cannot be ${format}: what is based on an image is qcow2`);
  if (was !== undefined && was !== imageDigest)
    throw badState(`volume ${volumeId} is based on image ${was}, and on no other`);
  const { virtualSizeBytes } = await images.get(imageDigest);
  if (virtualSizeBytes > file.sizeBytes) throw badState(`volume ${volumeId} is smaller than image ${imageDigest}`);
  return pool.imagePath(imageDigest);
}

async function install(pool: Pool, file: OwnFile, target: string, { format, imageDigest }: RewriteSpec): Promise<void> {
  const { imageDigest: _image, format: _format, ...rest } = file.sidecar;
  const path = pool.volumePath(rest.volumeId, false, format);
  await rename(target, path);
  await syncDir(pool.volumesDir);
  if (path === file.path) return;
  await writeSidecar(pool, {
    ...rest,
    ...(imageDigest !== undefined && { imageDigest }),
    ...(format !== 'qcow2' && { format }),
  });
  await rm(file.path, { force: true });
  await syncDir(pool.volumesDir);
}

/** The file of the format that a volume had, or was to get, when the agent was killed. */
export async function removeOtherFormats(pool: Pool): Promise<void> {
  for (const s of await listSidecars(pool)) {
    if (s.seed) continue;
    const is = pool.volumePath(s.volumeId, false, s.format);
    if (!(await sizeOf(is))) continue;
    for (const other of KEPT_FORMATS)
      if (other !== formatOf(s)) await rm(pool.volumePath(s.volumeId, false, other), { force: true });
  }
}

async function clusterOf(file: OwnFile): Promise<number> {
  if (file.format !== 'qcow2') return 65_536;
  return (await withSource(file.path, file.path, readOwnQcow2)).clusterBytes;
}
