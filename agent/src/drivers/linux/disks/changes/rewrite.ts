/**
 * A volume written anew by a confined qemu-img: in another format, or in the same without what is zero. The new file comes under
 * its name as a whole; until its sidecar says otherwise, the old one is the volume.
 */
import { chown, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { inspectDiskImage, readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { badState, ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { isForeign, KEPT_FORMATS } from '@berth/shared/model/volume.ts';
import type { KeptFormat, LongWork } from '../../../disks.ts';
import type { Exec } from '../../exec.ts';
import { formatOf, type RewriteSpec } from '../../../volume-work.ts';
import { takeFile } from '../../take-file.ts';
import { sizeOf, syncDir, syncFile, tellingFull, withSource } from '../files.ts';
import type { Pool } from '../pool.ts';
import { listSidecars, writeSidecar } from '../sidecars.ts';
import { requireRoom } from '../space.ts';
import { lend, ownFile, type OwnFile, type ReadFile } from './own-file.ts';
import type { ResizeParts } from './resize.ts';

/** Tables, and rounding. */
const SLACK_BYTES = 64 * 2 ** 20;

/** The caller holds the volume's and the image's locks. */
export async function rewriteVolume(
  parts: ResizeParts,
  volumeId: string,
  wanted: RewriteSpec,
  work: LongWork,
): Promise<void> {
  const { pool, exec } = parts;
  const { format } = wanted;
  const file = await ownFile(pool, volumeId);
  if (wanted.ifOther && format === file.format && wanted.imageDigest === file.sidecar.imageDigest) return;
  if (isForeign(format) && file.sidecar.vmId !== '')
    throw badState(`volume ${volumeId} belongs to ${file.sidecar.vmId}: no vm runs with ${format}`);
  const base = await baseOf(parts, file, wanted);
  const dir = pool.stagingPath(`rewrite-${volumeId}`);
  const target = join(dir, 'disk');
  await requireRoom(pool.volumesDir, await mostBytes(file, base), `the new file of volume ${volumeId}`);
  try {
    const { uid, gid } = await exec.sandboxUser();
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { mode: 0o700 });
    await chown(dir, uid, gid);
    const options = format === 'qcow2' ? ['-o', `cluster_size=${await clusterOf(file)}`] : [];
    const below = base === undefined ? [] : ['-B', base, '-F', 'qcow2'];
    const args = ['convert', '-p', '-O', format, ...options, ...below, sourceOf(file), target];
    await tellingFull(`the new file of volume ${volumeId}`, pool.stagingDir, () =>
      lend(exec, file.path, () =>
        exec.runConfined('qemu-img', args, {
          ...{ signal: work.signal, timeoutMs: 0, what: `writing volume ${volumeId} anew` },
          onOutput: (text) => tell(text, file.sizeBytes, work),
          limits: { fileBytes: Math.ceil(file.sizeBytes * (65 / 64)) + SLACK_BYTES },
        }),
      ),
    );
    if (isForeign(file.format) && !isForeign(format)) await cut(exec, target, format, file.sizeBytes);
    await takeFile(target, 0o600);
    await checkNew(target, format, file, base);
    await syncFile(target);
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

/** All that is below it is said here; what its header says of that is not followed. */
export function sourceOf({ path, format, backing }: ReadFile): string {
  const of = (driver: string, filename: string) => ({ driver, file: { driver: 'file', filename } });
  const below = backing === undefined ? null : { ...of('qcow2', backing), backing: null };
  return `json:${JSON.stringify({ ...of(format, path), ...(format === 'qcow2' && { backing: below }) })}`;
}

export async function mostBytes(file: ReadFile, base: string | undefined): Promise<number> {
  const own = (await sizeOf(file.path))?.allocated ?? 0;
  const image = file.backing === undefined || base !== undefined ? 0 : ((await sizeOf(file.backing))?.allocated ?? 0);
  return Math.min(own + image, file.sizeBytes) + SLACK_BYTES;
}

async function clusterOf(file: OwnFile): Promise<number> {
  if (file.format !== 'qcow2') return 65_536;
  return (await withSource(file.path, file.path, readOwnQcow2)).clusterBytes;
}

/** Such formats know no sizes between whole blocks of theirs: what they added behind the disk is taken off again. */
async function cut(exec: Exec, target: string, format: KeptFormat, sizeBytes: number): Promise<void> {
  const args = ['resize', '-q', '--shrink', '-f', format, target, String(sizeBytes)];
  await exec.runConfined('qemu-img', args, { timeoutMs: 60_000, what: 'cutting the new file to its size' });
}

async function checkNew(target: string, format: KeptFormat, file: OwnFile, base: string | undefined): Promise<void> {
  if (isForeign(format)) {
    const found = await withSource(target, target, (s) => inspectDiskImage(s, format));
    if (found.virtualSizeBytes >= file.sizeBytes) return;
    throw new ClusterError('INTERNAL', `the new file of volume ${file.sidecar.volumeId} is too small`);
  }
  const header = format === 'raw' ? undefined : await withSource(target, target, readOwnQcow2);
  const size = header?.virtualSizeBytes ?? (await sizeOf(target))?.size;
  if (size !== file.sizeBytes || (header && header.backingFile !== base))
    throw new ClusterError('INTERNAL', `the new file of volume ${file.sidecar.volumeId} is not as it should be`);
}

/** "    (12.34/100%)\r" */
export function tell(text: string, totalBytes: number, work: LongWork): void {
  const last = [...text.matchAll(/\((\d+\.\d+)\/100%\)/g)].at(-1)?.[1];
  if (last !== undefined) work.onProgress(Math.floor((Number(last) / 100) * totalBytes), totalBytes);
}
