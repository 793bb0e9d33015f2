/** Disks of VMs: qcow2 overlays on images, and blank ones, also raw. Listing starts no process. Seeds are seeds.ts's. */
import { rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MAX_VIRTUAL_BYTES } from '@berth/shared/disk/qcow2-header.ts';
import { readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { alreadyExists, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { isForeign, KEPT_FORMATS } from '@berth/shared/model/volume.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { VolumeSeen, VolumeSpec } from '../../disks.ts';
import { FileCache } from './file-cache.ts';
import { sizeOf, statOf, syncDir, syncFile, tellingFull, withSource } from './files.ts';
import type { ImageStore } from './images.ts';
import { movedPath } from './moves.ts';
import type { Pool } from './pool.ts';
import { forgetWiping } from './changes/wipe.ts';
import { listSidecars, readSidecar, removeSidecar, writeSidecar, type Sidecar } from './sidecars.ts';

export interface VolumeParts {
  readonly pool: Pool;
  readonly images: ImageStore;
}

const SECTOR = 512;

/** @param make its file, under its final name as a whole. The caller holds the volume's and the image's locks. */
export async function ensureVolume(
  parts: VolumeParts,
  spec: VolumeSpec,
  make: (parts: VolumeParts, spec: VolumeSpec, path: string) => Promise<void> = create,
): Promise<void> {
  const { pool } = parts;
  const path = pool.volumePath(spec.volumeId, false, spec.format);
  const there = await readSidecar(pool, spec.volumeId);
  if (there) checkSame(there, spec);
  if (there && (await sizeOf(path))) return;
  await checkSize(parts, spec);
  await writeSidecar(pool, {
    version: 1,
    volumeId: spec.volumeId,
    vmId: spec.vmId,
    seed: false,
    sizeBytes: spec.sizeBytes,
    ...(spec.imageDigest === undefined ? {} : { imageDigest: spec.imageDigest }),
    ...(spec.format === 'raw' ? { format: 'raw' } : {}),
  });
  try {
    await tellingFull(`volume ${spec.volumeId}`, parts.pool.volumesDir, () => make(parts, spec, path));
  } catch (e) {
    await removeSidecar(pool, spec.volumeId);
    throw e;
  }
}

function checkSame(there: Sidecar, spec: VolumeSpec): void {
  const is = (what: string): Error =>
    alreadyExists(`volume ${spec.volumeId} exists already, ${what}`, { volumeId: spec.volumeId });
  if (there.seed) throw is('as a seed');
  if (there.vmId !== spec.vmId) throw is(`and belongs to ${there.vmId}, not to ${spec.vmId}`);
  if (there.imageDigest !== spec.imageDigest)
    throw is(`based on ${there.imageDigest ?? 'no image'} instead of ${spec.imageDigest ?? 'none'}`);
  if ((there.format ?? 'qcow2') !== (spec.format ?? 'qcow2')) throw is(`as ${there.format ?? 'qcow2'}`);
  if (there.sizeBytes !== spec.sizeBytes)
    throw is(`with ${formatBytes(there.sizeBytes)} instead of ${formatBytes(spec.sizeBytes)}`);
}

async function checkSize({ pool, images }: VolumeParts, spec: VolumeSpec): Promise<void> {
  const { sizeBytes } = spec;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % SECTOR !== 0 || sizeBytes > MAX_VIRTUAL_BYTES)
    throw invalidArgument(
      `a disk of ${sizeBytes} bytes cannot be made: the size must be a multiple of ${SECTOR}, at most ${formatBytes(MAX_VIRTUAL_BYTES)}`,
    );
  if (spec.imageDigest === undefined) return;
  if (spec.format === 'raw')
    throw invalidArgument(
      `volume ${spec.volumeId} cannot be raw: it is an overlay of an image, which only qcow2 can be`,
    );
  const virtualSizeBytes = await imageSize({ pool, images }, spec.imageDigest, spec.instant === true);
  if (sizeBytes < virtualSizeBytes)
    throw invalidArgument(
      `a disk of ${formatBytes(sizeBytes)} is smaller than its image (${formatBytes(virtualSizeBytes)}); ask for that or more`,
    );
}

/** Of the whole image, or of the copy that fills. */
async function imageSize({ pool, images }: VolumeParts, digest: string, instant: boolean): Promise<number> {
  if (!instant || (await images.find(digest))) return (await images.get(digest)).virtualSizeBytes;
  const copy = pool.cachePath(digest);
  if (await sizeOf(copy)) return (await withSource(copy, copy, readOwnQcow2)).virtualSizeBytes;
  throw notFound(`image ${digest} is not on this host, and is not being copied to it`, { digest });
}

/** Under a name that nobody uses until it is whole. The image is ours and has been looked at; nothing opens it here. */
async function create({ pool }: VolumeParts, spec: VolumeSpec, path: string): Promise<void> {
  const half = join(pool.volumesDir, `.${spec.volumeId}.half`);
  const parent = spec.imageDigest === undefined ? undefined : pool.imagePath(spec.imageDigest);
  try {
    // libvirt gives it to QEMU's user when the VM starts
    await writeFile(half, spec.format === 'raw' ? '' : emptyQcow2(spec.sizeBytes, parent), { mode: 0o600 });
    if (spec.format === 'raw') await truncate(half, spec.sizeBytes);
    await syncFile(half);
    await rename(half, path);
    await syncDir(pool.volumesDir);
  } finally {
    await rm(half, { force: true });
  }
}

/** The volume first: a sidecar without it is swept up, a volume without a sidecar would be nobody's. */
export async function removeVolume(pool: Pool, volumeId: string): Promise<void> {
  const paths = [
    movedPath(pool, volumeId),
    pool.volumePath(volumeId, true),
    ...KEPT_FORMATS.map((f) => pool.volumePath(volumeId, false, f)),
  ];
  for (const path of paths) await rm(path, { force: true });
  await forgetWiping(pool, volumeId);
  await syncDir(pool.volumesDir);
  await removeSidecar(pool, volumeId);
}

/** Virtual sizes by path. A guest that writes changes its file, which is then read again. */
const sizes = new WeakMap<Pool, FileCache<number>>();

function sizesIn(pool: Pool): FileCache<number> {
  const cache = sizes.get(pool) ?? new FileCache<number>();
  sizes.set(pool, cache);
  return cache;
}

export async function listVolumes(pool: Pool): Promise<readonly VolumeSeen[]> {
  const cache = sizesIn(pool);
  const sidecars = await listSidecars(pool);
  const filling = new Map<string, Promise<boolean>>();
  const isOneFilling = (digest: string): Promise<boolean> => {
    const asked = filling.get(digest) ?? isFilling(pool, digest);
    filling.set(digest, asked);
    return asked;
  };
  const seen = await Promise.all(sidecars.map((s) => observe(pool, s, cache, isOneFilling)));
  cache.keep(new Set(sidecars.map((s) => pool.volumePath(s.volumeId, s.seed, s.format))));
  return seen.filter((v) => v !== undefined);
}

export async function findVolume(pool: Pool, volumeId: string): Promise<VolumeSeen | undefined> {
  const sidecar = await readSidecar(pool, volumeId);
  return sidecar && observe(pool, sidecar, sizesIn(pool), (digest) => isFilling(pool, digest));
}

/** Undefined while it is being made. The size is the file's own: somebody may have grown the disk. */
async function observe(
  pool: Pool,
  sidecar: Sidecar,
  cache: FileCache<number>,
  isOneFilling: (digest: string) => Promise<boolean>,
): Promise<VolumeSeen | undefined> {
  const { volumeId, vmId, seed, imageDigest, format } = sidecar;
  const path = pool.volumePath(volumeId, seed, format);
  const file = await statOf(path);
  if (!file) return undefined;
  const sizeBytes = isForeign(format)
    ? sidecar.sizeBytes
    : seed || format === 'raw'
      ? Number(file.size)
      : await cache.read(path, () => virtualSize(path, sidecar), file);
  const filling = imageDigest !== undefined && (await isOneFilling(imageDigest));
  const allocatedBytes = Number(file.blocks) * 512;
  const seen = { volumeId, vmId, seed, imageDigest, format, sizeBytes, allocatedBytes };
  return filling ? { ...seen, filling } : seen;
}

const isFilling = async (pool: Pool, digest: string): Promise<boolean> =>
  !(await sizeOf(pool.imagePath(digest))) && (await sizeOf(pool.cachePath(digest))) !== undefined;

/** A volume that a guest or an admin has spoilt is still listed: it takes room, and can be removed. */
async function virtualSize(path: string, sidecar: Sidecar): Promise<number> {
  try {
    return (await withSource(path, path, readOwnQcow2)).virtualSizeBytes;
  } catch {
    return sidecar.sizeBytes;
  }
}
