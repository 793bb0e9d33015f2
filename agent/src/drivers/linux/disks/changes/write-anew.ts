/**
 * What a disk holds, written anew by a confined qemu-img into a folder of the staging area: in another format, without what is zero,
 * smaller, with or without what is in its image. What becomes of the new file is decided by whoever asked for it.
 */
import { chown, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { inspectDiskImage, readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { isForeign } from '@berth/shared/model/volume.ts';
import type { KeptFormat, LongWork } from '../../../disks.ts';
import type { Exec } from '../../exec.ts';
import { takeFile } from '../../take-file.ts';
import { sizeOf, syncFile, tellingFull, withSource } from '../files.ts';
import type { Pool } from '../pool.ts';
import type { ReadFile } from './own-file.ts';

export interface Anew {
  readonly volumeId: string;
  /** QEMU's words for the disk that is read, with all that is below it. */
  readonly source: string;
  /** Of that disk. */
  readonly format: KeptFormat;
  readonly sizeBytes: number;
  readonly to: NewFile;
  /** Of the new file, if it is a qcow2. */
  readonly clusterBytes: number;
}

export interface NewFile {
  readonly format: KeptFormat;
  /** File of the image that it is an overlay of. */
  readonly base: string | undefined;
  /** Less than before; nothing that is cut off holds anything. Absent: as before. */
  readonly sizeBytes?: number;
}

/** Tables, and rounding. */
const SLACK_BYTES = 64 * 2 ** 20;
/** Of what no program is asked to do in longer. */
const CUT_MS = 60_000;

/** @returns the new file: root's, on disk, and what it should be. @param dir is made anew; the caller removes it */
export async function writeAnew(
  { pool, exec }: { readonly pool: Pool; readonly exec: Exec },
  dir: string,
  anew: Anew,
  work: LongWork,
): Promise<string> {
  const { volumeId, source, sizeBytes, to } = anew;
  const { uid, gid } = await exec.sandboxUser();
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { mode: 0o700 });
  await chown(dir, uid, gid);
  const target = join(dir, 'disk');
  const options = to.format === 'qcow2' ? ['-o', `cluster_size=${anew.clusterBytes}`] : [];
  const below = to.base === undefined ? [] : ['-B', to.base, '-F', 'qcow2'];
  await tellingFull(`the new file of volume ${volumeId}`, pool.stagingDir, () =>
    exec.runConfined('qemu-img', ['convert', '-p', '-O', to.format, ...options, ...below, source, target], {
      ...{ signal: work.signal, timeoutMs: 0, what: `writing volume ${volumeId} anew` },
      onOutput: (text) => tell(text, sizeBytes, work),
      limits: { fileBytes: Math.ceil(sizeBytes * (65 / 64)) + SLACK_BYTES },
    }),
  );
  // some formats know no sizes between whole blocks of theirs: what they added behind the disk is taken off again
  const odd = isForeign(anew.format) && !isForeign(to.format);
  if (odd || to.sizeBytes !== undefined) await cut(exec, target, to.format, to.sizeBytes ?? sizeBytes);
  await takeFile(target, 0o600);
  await checkNew(target, { volumeId, sizeBytes, ...to });
  await syncFile(target);
  return target;
}

/** All that is below it is said here; what its header says of that is not followed. @param file QEMU's words for its bytes; default: its path */
export function sourceOf(
  { path, format, backing }: Pick<ReadFile, 'path' | 'format' | 'backing'>,
  file: object = { driver: 'file', filename: path },
): string {
  const below =
    backing === undefined ? null : { driver: 'qcow2', file: { driver: 'file', filename: backing }, backing: null };
  return `json:${JSON.stringify({ driver: format, file, ...(format === 'qcow2' && { backing: below }) })}`;
}

/** Room that the new file takes at most. */
export async function mostBytes(file: ReadFile, base: string | undefined): Promise<number> {
  const own = (await sizeOf(file.path))?.allocated ?? 0;
  const image = file.backing === undefined || base !== undefined ? 0 : ((await sizeOf(file.backing))?.allocated ?? 0);
  return Math.min(own + image, file.sizeBytes) + SLACK_BYTES;
}

async function cut(exec: Exec, target: string, format: KeptFormat, sizeBytes: number): Promise<void> {
  const args = ['resize', '-q', '--shrink', '-f', format, target, String(sizeBytes)];
  const limits = { fileBytes: sizeBytes + (await sizeOf(target))!.size + SLACK_BYTES };
  await exec.runConfined('qemu-img', args, { timeoutMs: CUT_MS, what: 'cutting the new file to its size', limits });
}

async function checkNew(target: string, shall: NewFile & { readonly volumeId: string; readonly sizeBytes: number }) {
  const { volumeId, format, sizeBytes, base } = shall;
  if (isForeign(format)) {
    const found = await withSource(target, target, (s) => inspectDiskImage(s, format));
    if (found.virtualSizeBytes >= sizeBytes) return;
    throw new ClusterError('INTERNAL', `the new file of volume ${volumeId} is too small`);
  }
  const header = format === 'raw' ? undefined : await withSource(target, target, readOwnQcow2);
  const size = header?.virtualSizeBytes ?? (await sizeOf(target))?.size;
  if (size !== sizeBytes || (header && header.backingFile !== base))
    throw new ClusterError('INTERNAL', `the new file of volume ${volumeId} is not as it should be`);
}

/** "    (12.34/100%)\r" */
export function tell(text: string, totalBytes: number, work: LongWork): void {
  const last = [...text.matchAll(/\((\d+\.\d+)\/100%\)/g)].at(-1)?.[1];
  if (last !== undefined) work.onProgress(Math.floor((Number(last) / 100) * totalBytes), totalBytes);
}
