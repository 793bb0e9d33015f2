/**
 * Sizes of volumes that no domain has. Up is a change of the header; down is refused where anything would be cut off: a partition
 * that reaches further, or data beyond the new end.
 */
import { truncate } from 'node:fs/promises';
import { MAX_VIRTUAL_BYTES } from '@berth/shared/disk/qcow2-header.ts';
import { partitionsEnd } from '@berth/shared/disk/partitions.ts';
import { badState, ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { LongWork } from '../../../disks.ts';
import type { Exec } from '../../exec.ts';
import { sizeOf, syncFile } from '../files.ts';
import type { ImageStore } from '../images.ts';
import { connectNbd, type NbdClient } from '../nbd-client.ts';
import type { Pool } from '../pool.ts';
import { writeSidecar } from '../sidecars.ts';
import { lend, mayNotShrink, runnableFile, type RunnableFile } from './own-file.ts';
import { served, SERVED_EXPORT, type ServedFile, type ServeParts } from './served.ts';

export interface ResizeParts {
  readonly pool: Pool;
  readonly images: ImageStore;
  readonly exec: Exec;
  readonly clock: Clock;
}

const SECTOR = 512;
/** Tables that grow with the disk. */
const SLACK_BYTES = 256 * 2 ** 20;
/** Where partition tables are, at the beginning and, of a GPT once more, at the end. */
const TABLE_BYTES = 34 * SECTOR;

/** The caller holds the volume's lock. */
export async function resizeVolume(
  parts: ResizeParts,
  volumeId: string,
  sizeBytes: number,
  shrink: boolean,
  work: LongWork,
): Promise<void> {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % SECTOR !== 0 || sizeBytes > MAX_VIRTUAL_BYTES)
    throw invalidArgument(
      `a disk of ${sizeBytes} bytes cannot be: the size must be a multiple of ${SECTOR}, at most ${formatBytes(MAX_VIRTUAL_BYTES)}`,
    );
  const file = await runnableFile(parts.pool, volumeId);
  if (work.signal.aborted && sizeBytes !== file.sizeBytes)
    throw new ClusterError('CANCELLED', `the resizing of volume ${volumeId} was cancelled before it began`);
  if (sizeBytes < file.sizeBytes) await mayShrink(parts, file, sizeBytes, shrink, work);
  if (sizeBytes !== file.sizeBytes) await change(parts, file, sizeBytes, work);
  if (file.sidecar.sizeBytes !== sizeBytes) await writeSidecar(parts.pool, { ...file.sidecar, sizeBytes });
}

async function change({ exec }: ResizeParts, file: RunnableFile, sizeBytes: number, work: LongWork): Promise<void> {
  if (file.format === 'raw') {
    await truncate(file.path, sizeBytes);
  } else {
    const now = (await sizeOf(file.path))?.size ?? 0;
    const how = sizeBytes < file.sizeBytes ? ['--shrink'] : [];
    const args = ['resize', '-q', ...how, '-f', 'qcow2', file.path, String(sizeBytes)];
    const limits = { fileBytes: now + SLACK_BYTES };
    const what = `resizing volume ${file.sidecar.volumeId}`;
    await lend(exec, file.path, () => exec.runConfined('qemu-img', args, { signal: work.signal, what, limits }));
  }
  await syncFile(file.path);
}

async function mayShrink(
  parts: ResizeParts,
  file: RunnableFile,
  sizeBytes: number,
  shrink: boolean,
  work: LongWork,
): Promise<void> {
  const { volumeId, imageDigest } = file.sidecar;
  const sizes = `${formatBytes(file.sizeBytes)} to ${formatBytes(sizeBytes)}`;
  if (!shrink) throw badState(`volume ${volumeId} would go from ${sizes}: to make it smaller, say so (--shrink)`);
  const image = imageDigest === undefined ? undefined : await parts.images.get(imageDigest);
  if (image && sizeBytes < image.virtualSizeBytes)
    throw mayNotShrink(volumeId, `the image below it has ${formatBytes(image.virtualSizeBytes)}`);
  await lend(parts.exec, file.path, () => refuseCutIn(parts, file, { volumeId, sizeBytes }, work.signal));
}

/** @param file is read by a confined program. @throws BAD_STATE: it would lose something */
export const refuseCutIn = (
  parts: ServeParts,
  file: ServedFile,
  { volumeId, sizeBytes }: { readonly volumeId: string; readonly sizeBytes: number },
  signal: AbortSignal,
): Promise<void> =>
  served(parts, file, signal, async (socketPath) => {
    const nbd = await connectNbd({ socketPath, exportName: SERVED_EXPORT, clock: parts.clock, signal });
    try {
      await refuseCutOff(nbd, volumeId, sizeBytes);
    } finally {
      nbd.close();
    }
  });

async function refuseCutOff(nbd: NbdClient, volumeId: string, sizeBytes: number): Promise<void> {
  const start = await nbd.read(0, Math.min(TABLE_BYTES, nbd.sizeBytes));
  const { endBytes, gpt } = partitionsEnd(start);
  // a GPT has its second copy in the last sectors, so there must be room for one
  const needed = endBytes === 0 ? 0 : endBytes + (gpt ? TABLE_BYTES : 0);
  if (needed > sizeBytes)
    throw mayNotShrink(
      volumeId,
      `its last partition ends at ${formatBytes(endBytes)}. Make that smaller first, inside the guest`,
    );
  const last = await lastData(nbd, sizeBytes, gpt ? nbd.sizeBytes - TABLE_BYTES : nbd.sizeBytes);
  if (last > sizeBytes)
    throw mayNotShrink(
      volumeId,
      `there is data up to ${formatBytes(last)}, which would be cut off. If that is nothing but what was deleted, sparsify it first`,
    );
}

/** Where the last data in a range end; its beginning when there are none. */
async function lastData(nbd: NbdClient, from: number, to: number): Promise<number> {
  let last = from;
  for (let at = from; at < to;)
    for (const extent of await nbd.blockStatus(at, to - at)) {
      at = extent.offset + extent.length;
      if (!extent.zero) last = at;
    }
  return last;
}
