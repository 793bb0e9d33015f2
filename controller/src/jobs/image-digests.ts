/**
 * Two images may have the same content: then a host keeps one file for both, named by the digest. So a file is removed only
 * when no image has a copy there any more. Reads tables.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import type { Image, ImageCopy } from '@berth/shared/model/image.ts';
import type { Tables } from '../state/state.ts';

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
