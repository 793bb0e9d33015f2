/** Captures and exports on a simulated host: what is on a disk is its size, and which one it is. */
import { createHash } from 'node:crypto';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { badState, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { SimHost } from '@berth/shared/sim/sim-host.ts';
import type { Disks } from '../disks.ts';

const PIECE_BYTES = 64 * 1024;

export type SimCaptures = Pick<
  Disks,
  'captureVolume' | 'captureSnapshot' | 'captureTarget' | 'captureDone' | 'capturedDisk' | 'exportImage' | 'readStaged'
>;

export function createSimCaptures(host: SimHost): SimCaptures {
  const wanted = new Map<string, number>();
  return {
    async exportImage(exportId, digest) {
      const image = host.images.get(digest);
      if (!image) throw notFound(`image ${digest} is not on this host`, { digest });
      const file = diskOf(image.virtualSizeBytes, digest);
      host.uploads.set(exportId, file);
      const sha256 = createHash('sha256').update(file).digest('hex');
      return { fileBytes: file.length, virtualSizeBytes: image.virtualSizeBytes, sha256 };
    },
    async *readStaged(id, offset) {
      const file = host.uploads.get(id);
      if (!file) throw notFound(`there is no file ${id} on this host (any more); ask for it anew`);
      for (let at = offset; at < file.length; at += PIECE_BYTES) yield file.subarray(at, at + PIECE_BYTES);
    },
    async captureVolume(uploadId, volumeId) {
      if (host.uploads.has(uploadId)) return;
      const volume = host.volumes.get(volumeId);
      if (!volume || volume.files) throw notFound(`there is no disk ${volumeId} on this host`);
      host.uploads.set(uploadId, diskOf(volume.sizeBytes, volumeId));
    },
    async captureSnapshot(uploadId, { volumeId, snapshot }) {
      if (host.uploads.has(uploadId)) return;
      const volume = host.volumes.get(volumeId);
      if (!volume || volume.files) throw notFound(`there is no disk ${volumeId} on this host`);
      host.uploads.set(uploadId, diskOf(volume.sizeBytes, `${volumeId}@${snapshot}`));
    },
    async capturedDisk(uploadId) {
      const file = host.uploads.get(uploadId);
      return file && { path: `/simulated/${uploadId}`, format: 'qcow2', sizeBytes: file.length };
    },
    async captureTarget(uploadId, sizeBytes) {
      wanted.set(uploadId, sizeBytes);
      return `/var/lib/berth/staging/capture-${uploadId}/disk`;
    },
    async captureDone(uploadId) {
      const sizeBytes = wanted.get(uploadId);
      if (sizeBytes === undefined) throw notFound(`the copy ${uploadId} of a disk is not on this host`);
      host.uploads.set(uploadId, diskOf(sizeBytes, uploadId));
      wanted.delete(uploadId);
    },
  };
}

/** Two disks differ in what no table points to. */
export const diskOf = (sizeBytes: number, what: string): Buffer =>
  Buffer.concat([emptyQcow2(sizeBytes), Buffer.alloc(512, what)]);

/** Takes no time. */
export async function simBackup(host: SimHost, uuid: string, begun: () => Promise<void>): Promise<void> {
  const { power, name } = host.get(uuid);
  if (power !== 'running' && power !== 'paused') throw badState(`domain ${name} is ${power}`);
  await begun();
}
