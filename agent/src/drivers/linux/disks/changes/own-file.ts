/**
 * The file of a volume, looked at before any tool opens it: it is what its sidecar says, and refers to nothing else. Who lends it
 * to the unprivileged user gets it back, whatever happens.
 */
import { chmod, chown, lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EXTENSION, INCOMPATIBLE } from '@berth/shared/disk/qcow2-header.ts';
import { readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { ClusterError, badState, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Exec } from '../../exec.ts';
import { withSource } from '../files.ts';
import type { Pool } from '../pool.ts';
import { listSidecars, readSidecar, type Sidecar } from '../sidecars.ts';

export interface OwnFile {
  readonly sidecar: Sidecar;
  readonly path: string;
  readonly format: 'qcow2' | 'raw';
  /** As the guest sees it. */
  readonly sizeBytes: number;
  /** File of the image below it. */
  readonly backing: string | undefined;
}

const ACCEPTED = INCOMPATIBLE.dirty | INCOMPATIBLE.compression | INCOMPATIBLE.extendedL2;

/** @throws NOT_FOUND; UNSAFE_IMAGE when it refers to another file than its image: then nothing may open it. */
export async function ownFile(pool: Pool, volumeId: string): Promise<OwnFile> {
  const sidecar = await readSidecar(pool, volumeId);
  if (sidecar === undefined || sidecar.seed) throw notFound(`volume ${volumeId} is not on this host`);
  const path = pool.volumePath(volumeId, false, sidecar.format);
  const about = await lstat(path).catch(() => undefined);
  if (!about?.isFile()) throw notFound(`the file of volume ${volumeId} is not on this host: ${path}`);
  const backing = sidecar.imageDigest === undefined ? undefined : pool.imagePath(sidecar.imageDigest);
  if (sidecar.format === 'raw') return { sidecar, path, format: 'raw', sizeBytes: about.size, backing };
  const header = await withSource(path, `volume ${volumeId}`, readOwnQcow2);
  const other =
    header.backingFile !== backing ? (header.backingFile ?? 'no image') : header.extensions.get(EXTENSION.dataFile);
  const odd = (header.incompatible & ~ACCEPTED) !== 0n || header.encryption !== 0;
  if (other !== undefined || odd)
    throw new ClusterError(
      'UNSAFE_IMAGE',
      `volume ${volumeId} is not as Berth made it: its file ${other === undefined ? 'has features that Berth does not use' : `refers to ${other}`}. ` +
        `Somebody changed ${path} by hand; nothing is done with it`,
    );
  return { sidecar, path, format: 'qcow2', sizeBytes: header.virtualSizeBytes, backing };
}

/** The unprivileged user has the file while `fn` runs. libvirt gives it to QEMU's user when a VM starts. */
export async function lend<T>(exec: Exec, path: string, fn: () => Promise<T>): Promise<T> {
  const { uid, gid } = await exec.sandboxUser();
  await chown(path, uid, gid);
  try {
    return await fn();
  } finally {
    await chown(path, 0, 0).catch((e: NodeJS.ErrnoException) => {
      if (e.code !== 'ENOENT') throw e;
    });
  }
}

/** What was lent when the agent was killed: the disks, and what of them was being overwritten. */
export async function takeBack(pool: Pool, exec: Exec): Promise<void> {
  const user = await exec.sandboxUser().catch(() => undefined);
  if (user === undefined) return;
  for (const s of await listSidecars(pool)) await takeBackFile(pool.volumePath(s.volumeId, s.seed, s.format), user);
  for (const name of await readdir(pool.volumesDir))
    if (name.endsWith('.wiping')) await takeBackFile(join(pool.volumesDir, name), user);
}

/** Lent to that account, or to its group, as changes to a guest do it (guestfs/overlay.ts). Absent is fine. */
export async function takeBackFile(path: string, user: { readonly uid: number; readonly gid: number }): Promise<void> {
  const file = await lstat(path).catch(() => undefined);
  if (!file?.isFile() || (file.uid !== user.uid && file.gid !== user.gid)) return;
  await chmod(path, 0o600);
  await chown(path, file.uid === user.uid ? 0 : file.uid, 0);
}

export const mayNotShrink = (volumeId: string, why: string): ClusterError =>
  badState(`volume ${volumeId} cannot become smaller: ${why}`);
