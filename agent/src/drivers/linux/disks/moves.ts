/**
 * The second file of a running guest's disk when its image has become whole: an overlay over the image's file, that libvirt fills
 * from the first one, and from which it fills a new first one then, so that the guest ends on the volume's own name. Which of the
 * two is the disk meanwhile is the caller's to know.
 */
import { link, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { notFound } from '@berth/shared/errors/cluster-error.ts';
import { sizeOf, syncDir, syncFile, tellingFull, withSource } from './files.ts';
import type { Pool } from './pool.ts';
import { readSidecar } from './sidecars.ts';
import { requireRoom } from './space.ts';

export const movedPath = (pool: Pool, volumeId: string): string =>
  pool.volumePath(volumeId, false).replace(/\.qcow2$/, '.moved.qcow2');

export const isMoving = async (pool: Pool, volumeId: string): Promise<boolean> =>
  (await sizeOf(movedPath(pool, volumeId))) !== undefined;

/** They are one until the second is begun, and again when a move was settled or given up. */
export async function hasTwoFiles(pool: Pool, volumeId: string): Promise<boolean> {
  const [own, second] = await bothFiles(pool, volumeId);
  return second !== undefined && second.ino !== own?.ino;
}

/** @throws NOT_FOUND without such a volume, or when it has no image. */
export async function beginMove(pool: Pool, volumeId: string, guestHas: string): Promise<string> {
  const sidecar = await readSidecar(pool, volumeId);
  if (sidecar?.imageDigest === undefined) throw notFound(`volume ${volumeId} on an image is not on this host`);
  const [own, second] = [pool.volumePath(volumeId, false), movedPath(pool, volumeId)];
  const [from, to] = guestHas === second ? [second, own] : [own, second];
  const { virtualSizeBytes } = await withSource(from, from, readOwnQcow2);
  const image = pool.imagePath(sidecar.imageDigest);
  await tellingFull(`volume ${volumeId}`, pool.volumesDir, () =>
    putThere(pool, volumeId, to, async (file) => {
      await writeFile(file, emptyQcow2(virtualSizeBytes, image), { mode: 0o600 });
      await syncFile(file);
    }),
  );
  // what the guest has written is copied, and what it writes meanwhile goes into both
  await requireRoom(pool.volumesDir, (await sizeOf(from))?.allocated ?? 0, `moving volume ${volumeId} to its image`);
  return to;
}

/** In one step for whoever opens the volume, also over a power cut. */
export async function finishMove(pool: Pool, volumeId: string): Promise<void> {
  if (!(await hasTwoFiles(pool, volumeId))) return;
  await putThere(pool, volumeId, pool.volumePath(volumeId, false), (file) => link(movedPath(pool, volumeId), file));
}

export async function endMove(pool: Pool, volumeId: string): Promise<void> {
  const moved = movedPath(pool, volumeId);
  if ((await sizeOf(moved)) === undefined) return;
  await rm(moved, { force: true });
  await syncDir(pool.volumesDir);
}

const bothFiles = (pool: Pool, volumeId: string) =>
  Promise.all([pool.volumePath(volumeId, false), movedPath(pool, volumeId)].map((p) => stat(p).catch(() => undefined)));

/** In the place of what has that name. */
async function putThere(
  pool: Pool,
  volumeId: string,
  path: string,
  make: (file: string) => Promise<void>,
): Promise<void> {
  const half = join(pool.volumesDir, `.${volumeId}.half`);
  await rm(half, { force: true });
  try {
    await make(half);
    await rename(half, path);
  } finally {
    await rm(half, { force: true });
  }
  await syncDir(pool.volumesDir);
}
