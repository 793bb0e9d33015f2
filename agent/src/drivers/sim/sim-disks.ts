/**
 * Simulated disks: SimHost behind the Disks interface. Uploads are kept whole in memory and checked by the same header
 * parser as real ones; images are sizes and a digest; a transfer between simulated hosts is one line of JSON over the
 * same tunnel that real bytes would take.
 */
import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { inspectDiskImage } from '@berth/shared/disk/inspect.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { SimHost, SimImage } from '@berth/shared/sim/sim-host.ts';
import type { Disks, ImportedImage, LongWork, UploadSink, VolumeSpec } from '../disks.ts';

/** A simulated host holds uploads in memory. */
const MAX_UPLOAD_BYTES = 256 * 2 ** 20;

export interface SimDisksOptions {
  readonly host: SimHost;
  readonly clock: Clock;
  /** Where the sockets of served images go. */
  readonly runDir: string;
}

export function createSimDisks({ host, clock, runDir }: SimDisksOptions): Disks & { close(): Promise<void> } {
  const servers = new Map<string, { server: Server; path: string }>();
  return {
    capacity: async () => ({
      diskBytes: host.options.diskBytes,
      diskFreeBytes: host.options.diskBytes - host.diskUsedBytes,
    }),
    openUpload: async (uploadId, fileBytes) => openUpload(host, uploadId, fileBytes),
    hasUpload: async (uploadId) => host.uploads.has(uploadId),
    removeUpload: async (uploadId) => void host.uploads.delete(uploadId),
    listImages: async () => [...host.images.values()],
    importImage: (uploadId, format, work) => importImage(host, uploadId, format, work),
    fetchImage: (image, sourceSocket, work) => fetchImage(host, clock, image, sourceSocket, work),
    dropFetch: async () => {},
    removeImage: async (digest) => removeImage(host, digest),
    serveImage: (digest) => serve(host, servers, runDir, digest),
    listVolumes: async () =>
      [...host.volumes.values()].map((v) => ({ ...v, allocatedBytes: 196_608, seed: v.files !== undefined })),
    ensureVolume: async (spec) => ensureVolume(host, spec),
    ensureSeed: async ({ volumeId, vmId, files }) =>
      void host.volumes.set(volumeId, { volumeId, vmId, sizeBytes: 368_640, imageDigest: undefined, files }),
    removeVolume: async (volumeId) => void host.volumes.delete(volumeId),
    volumePath: (volumeId, seed) => `/var/lib/berth/volumes/${volumeId}.${seed ? 'iso' : 'qcow2'}`,
    serialLogPath: (vmId) => `/var/lib/berth/log/${vmId}.log`,
    removeSerialLog: async (vmId) => void host.serialLogs.delete(`/var/lib/berth/log/${vmId}.log`),
    readSerialLog: async (vmId, offset, maxBytes) => {
      const all = Buffer.from(host.serialLogs.get(`/var/lib/berth/log/${vmId}.log`) ?? '');
      return { data: all.subarray(offset, offset + maxBytes), sizeBytes: all.length };
    },
    close: async () => {
      for (const { server, path } of servers.values()) {
        server.close();
        await rm(path, { force: true });
      }
    },
  };
}

function openUpload(host: SimHost, uploadId: string, fileBytes: number): UploadSink {
  if (fileBytes > MAX_UPLOAD_BYTES)
    throw invalidArgument(
      `a simulated host takes uploads of up to ${MAX_UPLOAD_BYTES} bytes, this one has ${fileBytes}`,
    );
  host.reserve(fileBytes);
  const parts: Uint8Array[] = [];
  let received = 0;
  return {
    async write(chunk) {
      received += chunk.length;
      if (received > fileBytes) throw invalidArgument(`more than the announced ${fileBytes} bytes came`);
      parts.push(chunk);
    },
    async finish() {
      if (received !== fileBytes) throw invalidArgument(`${received} bytes came, ${fileBytes} were announced`);
      host.uploads.set(uploadId, Buffer.concat(parts));
    },
    async abort() {
      host.uploads.delete(uploadId);
    },
  };
}

async function importImage(host: SimHost, uploadId: string, format: string, work: LongWork): Promise<ImportedImage> {
  const file = host.uploads.get(uploadId);
  if (!file) throw notFound(`no upload ${uploadId}`);
  const read = async (offset: number, length: number) => file.subarray(offset, offset + length);
  const found = await inspectDiskImage({ name: 'the uploaded file', sizeBytes: file.length, read }, format);
  work.signal.throwIfAborted();
  const sourceDigest = createHash('sha256').update(file).digest('hex');
  const digest = `sha256:${createHash('sha256').update(`simulated:${sourceDigest}`).digest('hex')}`;
  const image = { digest, virtualSizeBytes: found.virtualSizeBytes, fileBytes: file.length };
  work.onProgress(file.length, file.length);
  host.images.set(digest, image);
  host.uploads.delete(uploadId);
  return { ...image, sourceDigest };
}

async function fetchImage(
  host: SimHost,
  clock: Clock,
  want: { digest: string },
  socket: string,
  work: LongWork,
): Promise<SimImage> {
  for (;;) {
    const have = host.images.get(want.digest);
    if (have) return have;
    work.signal.throwIfAborted();
    const line = await readLine(socket);
    if (line === undefined) {
      await clock.sleep(50, work.signal);
      continue;
    }
    const image = JSON.parse(line) as SimImage;
    if (image.digest !== want.digest)
      throw new ClusterError('DIGEST_MISMATCH', `the peer sent ${image.digest}, not ${want.digest}`);
    host.reserve(image.fileBytes);
    work.onProgress(image.fileBytes, image.fileBytes);
    host.images.set(image.digest, image);
  }
}

/** One line from a UNIX socket; undefined when nothing whole came. */
function readLine(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let got = '';
    const socket = connect(path);
    socket.setTimeout(2_000, () => socket.destroy());
    socket.on('data', (d) => (got += d.toString()));
    socket.on('error', () => {});
    socket.on('close', () => resolve(got.endsWith('\n') ? got : undefined));
  });
}

async function serve(
  host: SimHost,
  servers: Map<string, { server: Server; path: string }>,
  runDir: string,
  digest: string,
): Promise<string> {
  const image = host.images.get(digest);
  if (!image) throw notFound(`no image ${digest} on ${host.options.name}`);
  const known = servers.get(digest);
  if (known) return known.path;
  const path = join(runDir, `serve-${digest.slice(7, 23)}.sock`);
  await rm(path, { force: true });
  const server = createServer((s) => {
    s.on('error', () => {});
    s.end(`${JSON.stringify(image)}\n`);
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
  servers.set(digest, { server, path });
  return path;
}

function removeImage(host: SimHost, digest: string): void {
  const user = [...host.volumes.values()].find((v) => v.imageDigest === digest);
  if (user) throw new ClusterError('IN_USE', `image ${digest} is the base of volume ${user.volumeId}`);
  host.images.delete(digest);
}

function ensureVolume(host: SimHost, spec: VolumeSpec): void {
  const old = host.volumes.get(spec.volumeId);
  if (old && (old.sizeBytes !== spec.sizeBytes || old.imageDigest !== spec.imageDigest))
    throw new ClusterError('ALREADY_EXISTS', `volume ${spec.volumeId} exists with another size or image`);
  if (spec.imageDigest && !host.images.has(spec.imageDigest))
    throw notFound(`no image ${spec.imageDigest} on ${host.options.name}`);
  host.volumes.set(spec.volumeId, { ...spec, files: undefined });
}
