/**
 * Two images may have the same content: then a host keeps one file for both, named by the digest. So a file is removed only
 * when no image has a copy there any more. Reads tables and
 * removes files; writes no table.
 */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import type { Image, ImageCopy } from '@berth/shared/model/image.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { Wait, type RemoteContext } from './engine/define.ts';
import { insist } from './operate.ts';

export function getImage(tables: Tables, imageId: ImageId): Image {
  const image = tables.images.get(imageId);
  if (!image) throw new ClusterError('NOT_FOUND', `image ${imageId} does not exist any more`);
  return image;
}

/** Whether an image (other than `except`) has a copy with this content on the host. */
export function sharesDigest(tables: Tables, digest: string, hostId: HostId, except?: ImageId): boolean {
  return copiesOn(tables, digest, hostId).some((c) => c.imageId !== except);
}

function copiesOn(tables: Tables, digest: string, hostId: HostId): readonly ImageCopy[] {
  return tables.imageCopies.byHost(hostId).filter((c) => tables.images.get(c.imageId)?.digest === digest);
}

/** Where this content lies already, under whatever name. */
export function copiesOfDigest(tables: Tables, digest: string): readonly ImageCopy[] {
  return tables.images.byDigest(digest).flatMap((i) => tables.imageCopies.byImage(i.id));
}

/** Undoes the making of a file. A volume that is based on it by now (of an image with the same content) keeps it there. */
export async function removeCopy(
  c: RemoteContext<unknown, unknown, JobDeps>,
  hostId: HostId,
  digest: string,
): Promise<void | Wait> {
  try {
    const remove = (id: string) => c.deps.hosts.agent(hostId).removeImage(id, digest);
    const op = await insist(c, c.undoOpId, remove, 'removing the copy');
    if (Wait.is(op)) return op;
  } catch (e) {
    if (!isClusterError(e, 'IN_USE')) throw e;
  }
}
