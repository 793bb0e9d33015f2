/**
 * The second file that a running guest's disk moves to when its image has become whole: an overlay over the image's file, that
 * libvirt fills from the first one. Afterwards the volume's own name leads to it as well, so that whoever knows the volume by
 * its name finds what the guest writes. Which of the two is the newer is the caller's to know.
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

/** @throws NOT_FOUND without such a volume, or when it has no image. */
export async function beginMove(pool: Pool, volumeId: string): Promise<string> {
  const sidecar = await readSidecar(pool, volumeId);
  if (sidecar?.imageDigest === undefined) throw notFound(`volume ${volumeId} on an image is not on this host`);
  const [from, to] = [pool.volumePath(volumeId, false), movedPath(pool, volumeId)];
  const { virtualSizeBytes } = await withSource(from, from, readOwnQcow2);
  const image = pool.imagePath(sidecar.imageDigest);
  await rm(to, { force: true });
  // what the guest has written is copied, and what it writes meanwhile goes into both
  await requireRoom(pool.volumesDir, (await sizeOf(from))?.allocated ?? 0, `moving volume ${volumeId} to its image`);
  await tellingFull(`volume ${volumeId}`, pool.volumesDir, async () => {
    await writeFile(to, emptyQcow2(virtualSizeBytes, image), { mode: 0o600 });
    await syncFile(to);
  });
  return to;
}

/** In one step for whoever opens the volume, also over a power cut. */
export async function finishMove(pool: Pool, volumeId: string): Promise<void> {
  const [path, moved] = [pool.volumePath(volumeId, false), movedPath(pool, volumeId)];
  const [old, next] = await Promise.all([path, moved].map((p) => stat(p).catch(() => undefined)));
  if (!next || next.ino === old?.ino) return;
  const half = join(pool.volumesDir, `.${volumeId}.half`);
  await rm(half, { force: true });
  await link(moved, half);
  await rename(half, path);
  await syncDir(pool.volumesDir);
}

/** Of a volume that nobody runs with: its second name goes, if it is one. A second file is for whoever settles the move. */
export async function endSecondName(pool: Pool, volumeId: string): Promise<void> {
  const [own, other] = await Promise.all(
    [pool.volumePath(volumeId, false), movedPath(pool, volumeId)].map((p) => stat(p).catch(() => undefined)),
  );
  if (own !== undefined && own.ino === other?.ino) await endMove(pool, volumeId);
}

export async function endMove(pool: Pool, volumeId: string): Promise<void> {
  const moved = movedPath(pool, volumeId);
  if ((await sizeOf(moved)) === undefined) return;
  await rm(moved, { force: true });
  await syncDir(pool.volumesDir);
}
