/** What jobs that make, move or rewrite whole volumes have in common. */
import type { VmDisk } from '@berth/shared/model/vm.ts';
import type { Tables } from '../state/state.ts';
import { imagesStep } from './images-needed.ts';
import { neededBy } from './pool-image.ts';

/** Reads and writes all of a disk, perhaps over the network, perhaps after others. */
export const WHOLE_DISK_MS = 24 * 3_600_000;

/** The image below a volume comes first to where that shall lie. */
export const imageStep = <P>(
  disk: (c: { readonly tables: Tables; readonly params: P }) => Pick<VmDisk, 'poolId' | 'imageId'>,
) =>
  imagesStep<P>(
    (c) => neededBy(c, disk(c)).images,
    (c) => neededBy(c, disk(c)).copies,
  );
