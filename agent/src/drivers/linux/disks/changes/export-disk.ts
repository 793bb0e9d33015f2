/**
 * Files made of disks that are no files of this host, for somebody outside or for an image: what somebody reads lies here as a raw
 * file with holes, and is what was asked for, or becomes it as the file of a volume does. Whole or not at all.
 */
import { mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { lengthOf } from '@berth/shared/disk/pieces.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { ExportedFile, LongWork } from '../../../disks.ts';
import type { FileFormat, RawFile, ReadDisk } from '../../../volume-work.ts';
import { takeFolder } from '../../take-file.ts';
import { tellingFull } from '../files.ts';
import { requireRoom } from '../space.ts';
import { convertOut, exported, inStaging, type ExportParts } from './export-volume.ts';

/** How much of it is not zero nobody knows: room for so much more is looked for at a time. */
const MORE_BYTES = 256 * 2 ** 20;

/** The caller holds the volume's lock. Twice is once. */
export const exportDisk = (
  parts: ExportParts,
  exportId: string,
  { disk, format }: { readonly disk: ReadDisk; readonly format: FileFormat },
  work: LongWork,
): Promise<ExportedFile> =>
  exported(parts, exportId, disk.sizeBytes, work, async () => {
    if (format === 'raw')
      return withRaw(parts, exportId, disk, work, ({ path }) => parts.uploads.take(exportId, path, undefined));
    const { volumeId } = disk;
    await withRaw(parts, exportId, disk, part(work, 0), (raw) => {
      const file = { ...raw, format: 'raw', backing: undefined } as const;
      const wanted = { exportId, volumeId, format };
      return inStaging(parts, exportId, (dir) => convertOut(parts, dir, file, wanted, part(work, 1)));
    });
  });

/** As a copy of a disk that an image is made of. Twice is once. */
export async function captureDisk(parts: ExportParts, uploadId: string, disk: ReadDisk, work: LongWork): Promise<void> {
  if (await parts.uploads.has(uploadId)) return;
  await withRaw(parts, uploadId, disk, work, ({ path }) => parts.uploads.take(uploadId, path, { format: 'raw' }));
}

/** In a folder that is root's: nobody can put another file in the place of one that is lent. A crash leaves it to the next start. */
async function withRaw(
  parts: ExportParts,
  id: string,
  disk: ReadDisk,
  work: LongWork,
  fn: (raw: RawFile) => Promise<void>,
): Promise<void> {
  const dir = parts.pool.stagingPath(`read-${id}`);
  const raw = { path: join(dir, 'disk'), sizeBytes: disk.sizeBytes };
  try {
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { mode: 0o700 });
    await takeFolder(dir);
    await readInto(parts, raw, disk, work);
    await fn(raw);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** One of two parts of the work, each over the whole disk. */
const part = ({ signal, onProgress }: LongWork, which: 0 | 1): LongWork => ({
  signal,
  onProgress: (done, total) => onProgress(Math.floor((done + which * total) / 2), total),
});

async function readInto({ pool }: ExportParts, to: RawFile, disk: ReadDisk, work: LongWork): Promise<void> {
  const what = `the file of volume ${disk.volumeId}`;
  await tellingFull(what, pool.stagingDir, async () => {
    const file = await open(to.path, 'wx', 0o600);
    try {
      await readAll(file, disk, work, (bytes) => requireRoom(pool.stagingDir, bytes, what));
      await file.truncate(to.sizeBytes);
    } finally {
      await file.close();
    }
  });
}

async function readAll(
  file: FileHandle,
  { volumeId, sizeBytes, pieces }: ReadDisk,
  { signal, onProgress }: LongWork,
  insistRoom: (bytes: number) => Promise<void>,
): Promise<void> {
  let [at, written, allowed] = [0, 0, 0];
  for await (const piece of pieces(signal)) {
    signal.throwIfAborted();
    const end = at + lengthOf(piece);
    if (end > sizeBytes) throw cameOtherwise(volumeId, `more than its ${sizeBytes}`);
    if (typeof piece !== 'number') {
      for (written += piece.length; written > allowed; allowed += MORE_BYTES)
        await insistRoom(Math.min(MORE_BYTES, sizeBytes - at));
      await writeAll(file, piece, at);
    }
    onProgress((at = end), sizeBytes);
  }
  if (at !== sizeBytes) throw cameOtherwise(volumeId, `${at} of its ${sizeBytes}`);
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length;)
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
}

const cameOtherwise = (volumeId: string, howMany: string): ClusterError =>
  new ClusterError('INTERNAL', `${howMany} bytes of volume ${volumeId} came when it was read`);
