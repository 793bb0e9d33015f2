/** An image by its name or id that something can be made from now. Reads tables. */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Image } from '@berth/shared/model/image.ts';
import type { Tables } from '../state/state.ts';
import { resolve } from './names.ts';

/** @throws NOT_FOUND; BAD_STATE while it is imported or deleted. */
export function usableImage(tables: Tables, nameOrId: string): Image {
  const image = resolve('image', tables.images, nameOrId);
  if (image.state === 'available') return image;
  const job = tables.jobs.holders(`image/${image.id}`)[0];
  throw badState(
    image.state === 'importing'
      ? `image ${image.name} is still being imported${job ? `: berth job watch ${job.id}` : ''}`
      : `image ${image.name} is being deleted`,
  );
}
