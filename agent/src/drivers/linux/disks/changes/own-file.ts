/**
 * The file of a volume, looked at before any tool opens it: it is what its sidecar says, and refers to nothing else. Who lends it
 * to the unprivileged user gets it back, whatever happens.
 */
import { chown, lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EXTENSION, INCOMPATIBLE } from '@berth/shared/disk/qcow2-header.ts';
import { inspectDiskImage, readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { ClusterError, badState, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { KeptFormat, VolumeFormat } from '../../../disks.ts';
import { runnable } from '../../../volume-work.ts';
import type { Exec } from '../../exec.ts';
import { openToLend } from '../../take-file.ts';
import { withSource } from '../files.ts';
import type { Pool } from '../pool.ts';
import { listSidecars, readSidecar, type Sidecar } from '../sidecars.ts';

export interface OwnFile {
  readonly sidecar: Sidecar;
  readonly path: string;
  readonly format: KeptFormat;
  /** As a guest sees it. */
  readonly sizeBytes: number;
  /** File of the image below it. */
  readonly backing: string | undefined;
}

/** What a program needs to know to read it. */
export type ReadFile = Pick<OwnFile, 'path' | 'format' | 'sizeBytes' | 'backing'>;

/** As a guest can have it. */
export interface RunnableFile extends OwnFile {
  readonly format: VolumeFormat;
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
  if (sidecar.format !== undefined) {
    // such files are as large as they can be; the disk is as large as it was
    await withSource(path, `volume ${volumeId}`, (s) => inspectDiskImage(s, sidecar.format ?? ''));
    return { sidecar, path, format: sidecar.format, sizeBytes: sidecar.sizeBytes, backing: undefined };
  }
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

/** @throws BAD_STATE for a format that no VM runs with */
export async function runnableFile(pool: Pool, volumeId: string): Promise<RunnableFile> {
  const file = await ownFile(pool, volumeId);
  return { ...file, format: runnable({ volumeId, format: file.format }) };
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

/** The unprivileged user can read the file, or write to it, while `fn` runs; whose it is, perhaps a QEMU's that runs, it stays. */
export async function lendTo<T>(exec: Exec, mode: 'read' | 'write', path: string, fn: () => Promise<T>): Promise<T> {
  const user = await exec.sandboxUser();
  const file = await openToLend(path);
  try {
    const { uid, gid } = await file.stat();
    try {
      await file.chown(uid, user.gid);
      await file.chmod(mode === 'read' ? 0o640 : 0o660);
      return await fn();
    } finally {
      await file.chmod(0o600);
      // after a crash it is still lent, and whose it was is not known; libvirt gives it to QEMU's group when the VM starts
      await file.chown(uid, gid === user.gid ? 0 : gid);
    }
  } finally {
    await file.close();
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
  const file = await openToLend(path).catch(() => undefined);
  try {
    const about = await file?.stat();
    if (about === undefined || (about.uid !== user.uid && about.gid !== user.gid)) return;
    await file?.chmod(0o600);
    await file?.chown(about.uid === user.uid ? 0 : about.uid, 0);
  } finally {
    await file?.close();
  }
}

export const mayNotShrink = (volumeId: string, why: string): ClusterError =>
  badState(`volume ${volumeId} cannot become smaller: ${why}`);
