/** Volumes, seeds and images of a simulated host: what is refused, and what is the same thing twice. Entries, no bytes. */
import { MAX_VIRTUAL_BYTES } from '@berth/shared/disk/qcow2-header.ts';
import { alreadyExists, ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { SimHost } from '@berth/shared/sim/sim-host.ts';
import type { SeedSpec, VolumeSeen, VolumeSpec } from '../disks.ts';

const SECTOR = 512;
/** What an empty qcow2 overlay takes. */
const OVERLAY_BYTES = 196_608;
const SEED_BYTES = 368_640;
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** A simulated host has no paths that a name could leave; it refuses such names because real ones do. */
export function checkFileName(kind: string, id: string): string {
  if (!FILE_NAME.test(id)) throw invalidArgument(`${JSON.stringify(id.slice(0, 80))} is not a ${kind} id`);
  return id;
}

export const simImagePath = (digest: string): string => `/var/lib/berth/images/${digest.slice('sha256:'.length)}.qcow2`;

export const listVolumes = (host: SimHost): readonly VolumeSeen[] =>
  [...host.volumes.values()].map(({ files, dataBytes: _, ...v }) => ({
    ...v,
    allocatedBytes: files === undefined ? OVERLAY_BYTES : SEED_BYTES,
    seed: files !== undefined,
    ...(v.imageDigest !== undefined &&
      host.filling.has(v.imageDigest) &&
      !host.images.has(v.imageDigest) && { filling: true }),
  }));

export function ensureVolume(host: SimHost, spec: VolumeSpec): void {
  const { volumeId, vmId, sizeBytes, imageDigest, format = 'qcow2' } = spec;
  const old = host.volumes.get(checkFileName('volume', volumeId));
  const same =
    old?.files === undefined && old?.sizeBytes === sizeBytes && old.imageDigest === imageDigest && old.vmId === vmId;
  if (old && !(same && (old.format ?? 'qcow2') === format))
    throw alreadyExists(`volume ${volumeId} exists already, with another size, image, format or owner`);
  if (old) return;
  checkSize(host, spec);
  const raw = format === 'raw' ? { format } : {};
  host.volumes.set(volumeId, { volumeId, vmId, sizeBytes, imageDigest, ...raw, files: undefined });
}

export function checkSimSize(sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % SECTOR !== 0 || sizeBytes > MAX_VIRTUAL_BYTES)
    throw invalidArgument(`a disk of ${sizeBytes} bytes cannot be made`);
}

function checkSize(host: SimHost, { volumeId, sizeBytes, imageDigest, format, instant }: VolumeSpec): void {
  checkSimSize(sizeBytes);
  if (imageDigest === undefined) return;
  if (format === 'raw') throw invalidArgument(`volume ${volumeId} cannot be raw: it is an overlay of an image`);
  const filling = instant === true ? host.filling.get(imageDigest) : undefined;
  const imageBytes = host.images.get(imageDigest)?.virtualSizeBytes ?? filling;
  if (imageBytes === undefined && instant === true)
    throw new ClusterError('PEER_UNAVAILABLE', `image ${imageDigest} is not being copied to ${host.options.name} yet`);
  if (imageBytes === undefined) throw notFound(`no image ${imageDigest} on ${host.options.name}`);
  if (sizeBytes < imageBytes)
    throw invalidArgument(`a disk of ${sizeBytes} bytes is smaller than its image (${imageBytes})`);
}

export function ensureSeed(host: SimHost, { volumeId, vmId, files }: SeedSpec): void {
  const old = host.volumes.get(checkFileName('volume', volumeId));
  for (const name of Object.keys(files)) checkFileName('file', name);
  if (old && (old.vmId !== vmId || content(old.files) !== content(files)))
    throw alreadyExists(`seed ${volumeId} exists already, for another vm or with another content`);
  host.volumes.set(volumeId, { volumeId, vmId, sizeBytes: SEED_BYTES, imageDigest: undefined, files });
}

const content = (files: Readonly<Record<string, string>> | undefined): string =>
  files === undefined ? '' : JSON.stringify(Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1)));

export function removeImage(host: SimHost, digest: string): void {
  const user = [...host.volumes.values()].find((v) => v.imageDigest === digest);
  if (user)
    throw new ClusterError('IN_USE', `image ${digest} is in use: volume ${user.volumeId} of ${user.vmId}`, {
      volumeIds: user.volumeId,
    });
  host.images.delete(digest);
}
