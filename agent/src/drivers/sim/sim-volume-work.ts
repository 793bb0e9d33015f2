/** Work on volumes of a simulated host: what is refused, and what an entry says afterwards. No bytes. */
import { createHash } from 'node:crypto';
import { inspectDiskImage } from '@berth/shared/disk/inspect.ts';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { lengthOf } from '@berth/shared/disk/pieces.ts';
import { badState, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { SimHost, SimVolume } from '@berth/shared/sim/sim-host.ts';
import type { ExportedFile, LongWork } from '../disks.ts';
import { formatOf, runnable, type FileFormat, type ReadDisk, type VolumeWork } from '../volume-work.ts';
import { simFileOf, simVolumeFile } from './sim-volume-file.ts';
import { checkSimSize, ensureVolume, simImagePath } from './sim-volumes.ts';

export function simVolumeWork(host: SimHost): VolumeWork {
  const need = (volumeId: string): SimVolume => {
    const volume = host.volumes.get(volumeId);
    if (volume === undefined || volume.files !== undefined) throw notFound(`volume ${volumeId} is not on this host`);
    return volume;
  };
  return {
    make: async ({ preallocation, clusterBytes, lazyRefcounts, ...spec }) => {
      const { volumeId, vmId, imageDigest, sizeBytes, format } = spec;
      if (preallocation === 'falloc' || preallocation === 'full') host.reserve(sizeBytes);
      if (format === 'raw' && (lazyRefcounts || clusterBytes !== 65_536))
        throw badState(`volume ${volumeId} is raw, which has no metadata`);
      ensureVolume(host, { volumeId, vmId, imageDigest, sizeBytes, format });
    },
    assign: async (volumeId, { from, to }) => {
      const volume = need(volumeId);
      if (to !== '') runnable(volume);
      if (volume.vmId === to) return;
      if (volume.vmId !== from)
        throw badState(`volume ${volumeId} belongs to ${volume.vmId || 'nobody'}, not to ${from || 'nobody'}`);
      host.volumes.set(volumeId, { ...volume, vmId: to });
    },
    resize: async (volumeId, sizeBytes, { shrink }) => {
      const volume = need(volumeId);
      checkSimSize(sizeBytes);
      if (sizeBytes < volume.sizeBytes && !shrink)
        throw badState(`volume ${volumeId} would become smaller: say so (--shrink)`);
      if (sizeBytes < (volume.dataBytes ?? 0)) throw badState(`volume ${volumeId} has data that would be cut off`);
      host.volumes.set(volumeId, { ...volume, sizeBytes });
    },
    rewrite: async (volumeId, { format, imageDigest }) => {
      const { format: was, ...volume } = need(volumeId);
      if (format === formatOf({ format: was }) && imageDigest !== volume.imageDigest)
        throw badState(`volume ${volumeId} stays on what it is based on`);
      host.volumes.set(volumeId, { ...volume, imageDigest, ...(format !== 'qcow2' && { format }) });
    },
    settle: async () => undefined,
    export: async (exportId, volumeId) => {
      const { sizeBytes } = need(volumeId);
      const bytes = Buffer.concat([emptyQcow2(Math.min(sizeBytes, 2 ** 30)), Buffer.alloc(512, volumeId)]);
      host.uploads.set(exportId, bytes);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      return { fileBytes: bytes.length, virtualSizeBytes: sizeBytes, sha256 };
    },
    read: async (volumeId) => {
      const volume = need(volumeId);
      const { sizeBytes, imageDigest } = volume;
      const format = runnable(volume);
      return simVolumeFile({ sizeBytes, format, backing: imageDigest && simImagePath(imageDigest) });
    },
    install: async (spec, file, work) => {
      let bytes = 0;
      for await (const piece of file.pieces(work.signal)) bytes += lengthOf(piece);
      if (bytes !== file.fileBytes) throw badState(`${bytes} of ${file.fileBytes} bytes came`);
      work.onProgress(bytes, bytes);
      ensureVolume(host, spec);
    },
    openUploaded: async (uploadId, { fileFormat }) => {
      const file = host.uploads.get(uploadId);
      if (!file) throw notFound(`upload ${uploadId} is not on this host; send the file again`);
      const read = async (offset: number, length: number) => file.subarray(offset, offset + length);
      const found = await inspectDiskImage({ name: 'the uploaded file', sizeBytes: file.length, read }, fileFormat);
      const about = { fileBytes: file.length, allocatedBytes: file.length, sizeBytes: found.virtualSizeBytes };
      async function* pieces(): AsyncGenerator<Uint8Array> {
        yield file ?? Buffer.alloc(0);
      }
      const sourceDigest = createHash('sha256').update(file).digest('hex');
      const ownPath = `/var/lib/berth/staging/${uploadId}`;
      return { ...about, sourceDigest, pieces, ownPath, close: async () => undefined };
    },
    staged: async (uploadId) => {
      const file = host.uploads.get(uploadId);
      if (!file) throw notFound(`there is no file ${uploadId} on this host (any more)`);
      return simFileOf([file]);
    },
    wipe: async (volumeId) => void host.volumes.set(volumeId, { ...need(volumeId), dataBytes: 0 }),
    noteSize: async (volumeId, sizeBytes) => void host.volumes.set(volumeId, { ...need(volumeId), sizeBytes }),
  };
}

/** A simulated host holds files in memory. */
const MOST_BYTES = 64 * 2 ** 20;

/** What was read, behind the head of a qcow2 where it is to be one. */
export async function simExportDisk(
  host: SimHost,
  { exportId, format }: { readonly exportId: string; readonly format: FileFormat },
  { sizeBytes, volumeId, pieces }: ReadDisk,
  { signal, onProgress }: LongWork,
): Promise<ExportedFile> {
  const bytes = Buffer.alloc(Math.min(sizeBytes, MOST_BYTES));
  let at = 0;
  for await (const piece of pieces(signal)) {
    if (typeof piece !== 'number' && at < bytes.length) bytes.set(piece.subarray(0, bytes.length - at), at);
    at += lengthOf(piece);
    if (at > sizeBytes) throw badState(`more than ${sizeBytes} bytes of ${volumeId} came`);
  }
  onProgress(sizeBytes, sizeBytes);
  const head = format === 'qcow2' ? emptyQcow2(Math.min(sizeBytes, 2 ** 30)) : Buffer.alloc(0);
  const made = Buffer.concat([head, bytes]);
  host.uploads.set(exportId, made);
  const sha256 = createHash('sha256').update(made).digest('hex');
  return { fileBytes: made.length, virtualSizeBytes: sizeBytes, sha256 };
}
