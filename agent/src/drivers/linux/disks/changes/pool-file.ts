/**
 * Files of volumes that lie in pools, read and written anew. They stay who owns them: the agent may have no right to change anything
 * in a pool, so root gives a confined program their bytes and nothing else. What is written lies in the host's own folder, until
 * somebody has carried it to where it shall be.
 */
import { rm } from 'node:fs/promises';
import { readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import type { Qcow2Header } from '@berth/shared/disk/qcow2-header.ts';
import { badState, ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../../../disks.ts';
import { checkCarriedHeader, checkCarriedLength } from '../../../carried.ts';
import type { NewPoolFile, PoolFile, StagedDisk } from '../../../volume-work.ts';
import type { Exec } from '../../exec.ts';
import { filePieces } from '../../file-pieces.ts';
import { openToLend } from '../../take-file.ts';
import type { Pool } from '../pool.ts';
import { requireRoom } from '../space.ts';
import { refuseCutIn } from './resize.ts';
import { served, SERVED_EXPORT, type ServedFile, type ServeParts } from './served.ts';
import { mostBytes, sourceOf, writeAnew } from './write-anew.ts';

const CLUSTER_BYTES = 65_536;

/** Somebody could have put another in its place. Gives its header; undefined: it is raw. @throws UNSAFE_IMAGE */
export async function checkPoolFile({ path, ...file }: PoolFile): Promise<Qcow2Header | undefined> {
  const handle = await openToLend(path);
  try {
    const { size: sizeBytes } = await handle.stat();
    if (file.format === 'raw') return void checkCarriedLength(file, sizeBytes);
    const read = async (offset: number, length: number): Promise<Uint8Array> => {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, offset);
      return buffer.subarray(0, bytesRead);
    };
    const header = await readOwnQcow2({ name: `volume ${file.volumeId}`, sizeBytes, read });
    checkCarriedHeader(header, file, file.backing);
    return header;
  } finally {
    await handle.close();
  }
}

/** How it is read. */
export interface LentPoolFile extends PoolFile {
  /** Also while a QEMU writes to it, for those who read what that leaves alone. Absent: IN_USE. */
  readonly alsoInUse?: true;
}

/** @param fn gets what a confined program reads the disk by, for as long as it runs. @throws IN_USE: a QEMU writes to it */
export async function withPoolFile<T>(
  parts: ServeParts,
  { alsoInUse, ...file }: LentPoolFile,
  signal: AbortSignal,
  fn: (disk: ServedFile) => Promise<T>,
): Promise<T> {
  const bytes = {
    ...(alsoInUse ? unlocked(file) : { path: file.path, format: 'raw' as const }),
    asRoot: true as const,
  };
  try {
    return await served(parts, bytes, signal, (path) => {
      const node = { driver: 'nbd', server: { type: 'unix', path }, export: SERVED_EXPORT };
      return fn({ path: sourceOf(file, node), format: undefined });
    });
  } catch (e) {
    if (!isClusterError(e, 'INTERNAL') || !/Failed to get .*lock/.test(String(e.meta['stderr']))) throw e;
    throw new ClusterError('IN_USE', `volume ${file.volumeId} is in use: a QEMU has its file open`, {}, { cause: e });
  }
}

/** Neither asks for QEMU's locks nor minds them. */
const unlocked = ({ path: filename }: PoolFile) => ({
  path: `json:${JSON.stringify({ driver: 'raw', file: { driver: 'file', filename, locking: 'off' } })}`,
  format: undefined,
});

/** As `BlockWork.rewriteFile`. */
export async function rewritePoolFile(
  parts: ServeParts & { readonly pool: Pool; readonly exec: Exec },
  file: PoolFile,
  wanted: NewPoolFile,
  work: LongWork,
): Promise<StagedDisk> {
  const { pool } = parts;
  const { volumeId } = file;
  const header = await checkPoolFile(file);
  const dir = pool.stagingPath(`rewrite-${volumeId}`);
  const close = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    const target = await withPoolFile(parts, file, work.signal, async (disk) => {
      const { sizeBytes = file.sizeBytes } = wanted;
      if (sizeBytes > file.sizeBytes) throw badState(`volume ${volumeId} does not become larger by being written anew`);
      if (sizeBytes < file.sizeBytes) await refuseCutIn(parts, disk, { volumeId, sizeBytes }, work.signal);
      await requireRoom(pool.stagingDir, await mostBytes(file, wanted.base), `the new file of volume ${volumeId}`);
      const clusterBytes = header?.clusterBytes ?? CLUSTER_BYTES;
      return writeAnew(parts, dir, { ...file, clusterBytes, source: disk.path, to: wanted }, work);
    });
    return { ...(await filePieces(target, `the new file of volume ${volumeId}`)), ownPath: target, close };
  } catch (e) {
    await close();
    throw e;
  }
}
