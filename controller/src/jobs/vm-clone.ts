/**
 * Job vm.clone: a VM whose disk is an overlay on an image, on the host that fits best. A host that lacks an image gets it
 * first, by a keyed job that all clones on that host share.
 */
import type { ImageId } from '@berth/shared/model/ids.ts';
import type { JobDeps } from './deps.ts';
import { defineJob } from './engine/define.ts';
import { imagesStep } from './images-needed.ts';
import { imagesOnHost, poolCopies } from './pool-image.ts';
import { choose, customize, define, publish, reserve, seed, volume, type MakeParams } from './making.ts';

export interface CloneParams extends MakeParams {
  readonly imageId: ImageId;
}

export const vmClone = defineJob<CloneParams, JobDeps>('vm.clone', 2)
  .local('reserve', reserve)
  .local('place', choose)
  .local('image', imagesStep(imagesOnHost, poolCopies))
  .remote('volume', volume)
  .remote('customize', customize)
  .remote('seed', seed)
  .remote('define', define)
  .local('publish', publish)
  .build();

/** As 0.1 began them. */
export const vmCloneV1 = defineJob<CloneParams, JobDeps>('vm.clone', 1)
  .local('reserve', reserve)
  .local('place', choose)
  .local('image', imagesStep(imagesOnHost, poolCopies))
  .remote('volume', volume)
  .remote('seed', seed)
  .remote('define', define)
  .local('publish', publish)
  .build();
