/**
 * Whether a host still needs its copy of an image, and whether it is to have one again: what cleaning up asks before it plans, and
 * again before it removes. Reads tables.
 */
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import type { Tables } from '../state/state.ts';
import { sharesDigest } from './image-digests.ts';
import { fetchKey } from './image-fetch.ts';

/** Where anything is based on the image, or has it in a drive. What has no host yet may come anywhere. */
export function neededOn(tables: Tables, imageId: ImageId): (hostId: HostId) => boolean {
  const users = [...tables.vms.byImage(imageId), ...tables.volumes.byImage(imageId)];
  const hosts = new Set<HostId | undefined>(users.map((o) => o.hostId));
  return (hostId) => hosts.has(hostId) || hosts.has(undefined);
}

/** The inventory counts on a copy of this content there, or a job is just bringing one: what was to go must stay. */
export const isWantedAgain = (tables: Tables, digest: string, hostId: HostId): boolean =>
  sharesDigest(tables, digest, hostId) || isComing(tables, digest, hostId);

export const isComing = (tables: Tables, digest: string, hostId: HostId): boolean =>
  tables.images.byDigest(digest).some(({ id }) => tables.jobs.byKey(fetchKey({ imageId: id, hostId })) !== undefined);
