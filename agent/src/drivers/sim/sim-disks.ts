/**
 * Simulated disks: SimHost behind the Disks interface. Uploads are kept whole in memory and checked by the same header
 * parser as real ones; images are sizes and a digest, volumes are entries. Transfers are sim-transfer.ts's.
 */
import { createHash } from 'node:crypto';
import { inspectDiskImage } from '@berth/shared/disk/inspect.ts';
import { ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { SimHost } from '@berth/shared/sim/sim-host.ts';
import type { ImageSeen, ImportedImage, LongWork, UploadSink } from '../disks.ts';
import { fetchSimImage, SimImageServers } from './sim-transfer.ts';
import type { AllDisks, BlockWork } from '../volume-work.ts';
import { simVolumeFile } from './sim-volume-file.ts';
import { simExportDisk, simVolumeWork } from './sim-volume-work.ts';
import { createSimCaptures, diskOf } from './sim-capture.ts';
import { simResumable } from './sim-resumable.ts';
import { readSimSerialLog } from './sim-serial.ts';
import { dropFetch, simBases } from './sim-bases.ts';
import { checkFileName, ensureSeed, ensureVolume, listVolumes, removeImage, simImagePath } from './sim-volumes.ts';

/** A simulated host holds uploads in memory. */
const MAX_UPLOAD_BYTES = 256 * 2 ** 20;

export interface SimDisksOptions {
  readonly host: SimHost;
  readonly clock: Clock;
  /** Where the sockets of served images go. */
  readonly runDir: string;
}

export function createSimDisks({ host, clock, runDir }: SimDisksOptions): AllDisks & { close(): Promise<void> } {
  const servers = new SimImageServers(host, runDir);
  return {
    capacity: async () => ({
      diskBytes: host.options.diskBytes,
      diskFreeBytes: host.options.diskBytes - host.diskUsedBytes,
    }),
    openUpload: async (uploadId, fileBytes, allocatedBytes) => openUpload(host, uploadId, fileBytes, allocatedBytes),
    hasUpload: async (uploadId) => host.uploads.has(uploadId),
    removeUpload: async (uploadId) => {
      host.uploads.delete(uploadId);
      host.coming.delete(uploadId);
    },
    resumable: simResumable(host, MAX_UPLOAD_BYTES),
    ...createSimCaptures(host),
    listImages: async () => [...host.images.values()],
    importImage: (uploadId, format, work) => importImage(host, uploadId, format, work),
    fetchImage: async (image, socket, work) => {
      host.filling.set(image.digest, image.virtualSizeBytes);
      host.bases.add(image.digest);
      const got = await fetchSimImage(host, clock, { digest: image.digest, socket }, work);
      host.filling.delete(image.digest);
      return got;
    },
    dropFetch: async (digest) => dropFetch(host, digest),
    removeImage: async (digest) => {
      removeImage(host, digest);
      await servers.stop(digest);
    },
    serveImage: (digest) => servers.serve(digest),
    ...simBases(host),
    listVolumes: async () => listVolumes(host),
    findVolume: async (volumeId) =>
      host.volumes.has(checkFileName('volume', volumeId))
        ? listVolumes(host).find((v) => v.volumeId === volumeId)
        : undefined,
    ensureVolume: async (spec) => ensureVolume(host, spec),
    ensureFullClone: async (spec, work) => {
      const image = simImage(host, spec.imageDigest);
      insistAsLarge(image, spec.sizeBytes);
      ensureVolume(host, { ...spec, imageDigest: undefined });
      work.onProgress(image.virtualSizeBytes, image.virtualSizeBytes);
    },
    ensureSeed: async (spec) => ensureSeed(host, spec),
    blocks: simBlocks(host),
    work: simVolumeWork(host),
    removeVolume: async (volumeId) => {
      host.volumes.delete(volumeId);
      host.moving.delete(volumeId);
    },
    volumePath: (volumeId, seed, format = 'qcow2') => `/var/lib/berth/volumes/${volumeId}.${seed ? 'iso' : format}`,
    imagePath: simImagePath,
    serialLogPath,
    removeSerialLog: async (vmId) => void host.serialLogs.delete(serialLogPath(vmId)),
    readSerialLog: async (vmId, from, maxBytes) => readSimSerialLog(host, serialLogPath(vmId), from, maxBytes),
    boundSerialLogs: async () => undefined,
    close: () => servers.close(),
  };
}

function simImage(host: SimHost, digest: string): ImageSeen {
  const image = host.images.get(digest);
  if (!image) throw notFound(`no image ${digest} on ${host.options.name}`);
  return image;
}

function insistAsLarge({ virtualSizeBytes }: ImageSeen, sizeBytes: number): void {
  if (sizeBytes < virtualSizeBytes) throw invalidArgument(`a disk of ${sizeBytes} bytes is smaller than its image`);
}

const serialLogPath = (vmId: string): string => `/var/lib/berth/log/${vmId}.log`;

function openUpload(host: SimHost, uploadId: string, fileBytes: number, allocatedBytes = fileBytes): UploadSink {
  checkFileName('upload', uploadId);
  if (!Number.isSafeInteger(fileBytes) || fileBytes < 0)
    throw invalidArgument(`${fileBytes} is not the size of a file to upload`);
  host.reserve(Math.min(fileBytes, allocatedBytes));
  if (fileBytes > MAX_UPLOAD_BYTES)
    throw invalidArgument(
      `a simulated host takes uploads of up to ${MAX_UPLOAD_BYTES} bytes, this one has ${fileBytes}`,
    );
  const parts: Uint8Array[] = [];
  let received = 0;
  const count = (bytes: number): void => {
    if (received + bytes > fileBytes) throw invalidArgument(`more than the announced ${fileBytes} bytes came`);
    received += bytes;
  };
  return {
    async write(chunk) {
      count(chunk.length);
      parts.push(Buffer.from(chunk)); // the caller may use its buffer again
    },
    async skip(bytes) {
      count(bytes);
      parts.push(Buffer.alloc(bytes));
    },
    async finish() {
      if (received !== fileBytes) throw invalidArgument(`${received} of the announced ${fileBytes} bytes came`);
      host.reserve(fileBytes);
      host.uploads.set(uploadId, Buffer.concat(parts));
    },
    // what is finished is no longer this sink's
    async abort() {
      parts.length = 0;
    },
  };
}

async function importImage(host: SimHost, uploadId: string, format: string, work: LongWork): Promise<ImportedImage> {
  const file = host.uploads.get(checkFileName('upload', uploadId));
  if (!file) throw notFound(`there is no finished upload ${uploadId} on this host; upload it again`);
  const read = async (offset: number, length: number) => file.subarray(offset, offset + length);
  const found = await inspectDiskImage({ name: 'the uploaded file', sizeBytes: file.length, read }, format);
  work.onProgress(file.length, file.length);
  const sourceDigest = createHash('sha256').update(file).digest('hex');
  const digest = `sha256:${createHash('sha256').update(`simulated:${sourceDigest}`).digest('hex')}`;
  const there = host.images.get(digest);
  const about = { sourceDigest, ...(found.medium && { medium: true }) };
  if (there) return { ...there, ...about };
  if (work.signal.aborted) throw new ClusterError('CANCELLED', 'the import was cancelled');
  const image = { digest, virtualSizeBytes: found.virtualSizeBytes, fileBytes: file.length };
  host.images.set(digest, image);
  return { ...image, ...about };
}

const simBlocks = (host: SimHost): BlockWork => ({
  async *readImage(digest) {
    yield Buffer.alloc(simImage(host, digest).virtualSizeBytes > 0 ? 512 : 0);
  },
  async writeOut(digest, _target, work) {
    const { virtualSizeBytes } = simImage(host, digest);
    work.onProgress(virtualSizeBytes, virtualSizeBytes);
  },
  async *readVolume(volumeId) {
    if (!host.volumes.has(volumeId)) throw notFound(`volume ${volumeId} is not on this host`);
    yield Buffer.alloc(512);
  },
  async writeVolumeOut(volumeId, _target, work) {
    const volume = host.volumes.get(volumeId);
    if (!volume) throw notFound(`volume ${volumeId} is not on this host`);
    work.onProgress(volume.sizeBytes, volume.sizeBytes);
  },
  async *readIn() {
    yield Buffer.alloc(512);
  },
  async writeIn(_target, pieces) {
    for await (const _ of pieces);
  },
  async *readFile() {
    yield Buffer.alloc(512);
  },
  insistFree: async () => undefined,
  rewriteFile: async (file, { format, base: backing, sizeBytes = file.sizeBytes }, work) => {
    work.onProgress(sizeBytes, sizeBytes);
    const about = simVolumeFile({ sizeBytes, format, backing });
    return { ...about, ownPath: `/var/lib/berth/staging/${file.volumeId}`, close: async () => undefined };
  },
  copyImage: async ({ volumeId, sizeBytes, imageDigest }, work) => {
    insistAsLarge(simImage(host, imageDigest), sizeBytes);
    work.onProgress(sizeBytes, sizeBytes);
    const about = simVolumeFile({ sizeBytes, format: 'qcow2', backing: undefined });
    return { ...about, ownPath: `/var/lib/berth/staging/${volumeId}`, close: async () => undefined };
  },
  writeFileOut: async ({ sizeBytes }, _target, work) => work.onProgress(sizeBytes, sizeBytes),
  captureSnapshot: async (uploadId, { file, snapshot }) =>
    void host.uploads.set(uploadId, diskOf(file.sizeBytes, `${file.volumeId}@${snapshot}`)),
  captureDisk: async (uploadId, disk, work) =>
    void (await simExportDisk(host, { exportId: uploadId, format: 'raw' }, disk, work)),
  exportDisk: (exportId, disk, format, work) => simExportDisk(host, { exportId, format }, disk, work),
});
