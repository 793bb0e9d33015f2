/** Images of a simulated host that are not whole yet, and volumes that rest on them. Guests read nothing, so nothing is served. */
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { SimHost } from '@berth/shared/sim/sim-host.ts';
import type { Disks } from '../disks.ts';

type Bases = Pick<
  Disks,
  | 'imageHashes'
  | 'isRelayed'
  | 'baseSocket'
  | 'hasBase'
  | 'openBase'
  | 'isBaseServed'
  | 'endBase'
  | 'beginMove'
  | 'finishMove'
  | 'endMove'
  | 'isMoving'
  | 'hasTwoFiles'
  | 'movedPath'
>;

const ownPath = (volumeId: string): string => `/var/lib/berth/volumes/${volumeId}.qcow2`;
const movedPath = (volumeId: string): string => `/var/lib/berth/volumes/${volumeId}.moved.qcow2`;

export function simBases(host: SimHost): Bases {
  return {
    imageHashes: async (digest) => {
      if (!host.images.has(digest)) throw notFound(`no image ${digest} on ${host.options.name}`);
      return Buffer.from('BHL1');
    },
    isRelayed: async () => false,
    baseSocket: (digest) => `/var/lib/berth/run/fetch-${digest.slice(7, 23)}/base`,
    openBase: async (digest) => {
      if (host.images.has(digest) || host.filling.has(digest)) return;
      throw new ClusterError('PEER_UNAVAILABLE', `image ${digest} is not being copied to ${host.options.name}`);
    },
    hasBase: async (digest) => host.bases.has(digest),
    isBaseServed: async (digest) => host.images.has(digest),
    endBase: async (digest) => {
      if (host.images.has(digest)) host.bases.delete(digest);
    },
    beginMove: async (volumeId, guestHas) => {
      if (host.volumes.get(volumeId)?.imageDigest === undefined)
        throw notFound(`volume ${volumeId} on an image is not on ${host.options.name}`);
      host.moving.set(volumeId, 'two files');
      return guestHas === movedPath(volumeId) ? ownPath(volumeId) : movedPath(volumeId);
    },
    finishMove: async (volumeId) => {
      if (host.moving.has(volumeId)) host.moving.set(volumeId, 'two names');
    },
    endMove: async (volumeId) => void host.moving.delete(volumeId),
    isMoving: async (volumeId) => host.moving.has(volumeId),
    hasTwoFiles: async (volumeId) => host.moving.get(volumeId) === 'two files',
    movedPath,
  };
}

export function dropFetch(host: SimHost, digest: string): void {
  const isWhole = host.images.has(digest);
  if (!isWhole && [...host.volumes.values()].some((v) => v.imageDigest === digest))
    throw new ClusterError('IN_USE', `the copy of image ${digest} stays: volumes of VMs rest on it`);
  host.filling.delete(digest);
  host.bases.delete(digest);
}
