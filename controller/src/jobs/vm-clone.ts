/**
 * Job vm.clone: a VM whose disk is an overlay on an image, or a copy of it, on the host that fits best. A host that lacks an
 * image gets it by a keyed job that all clones on that host share; whether it is waited for is clone-bases.ts's.
 */
import type { ImageId } from '@berth/shared/model/ids.ts';
import { bases, type CloneKind } from './clone-bases.ts';
import type { JobDeps } from './deps.ts';
import { defineJob } from './engine/define.ts';
import { choose, customize, define, publish, reserve, seed, volume, type MakeParams } from './making.ts';

export interface CloneParams extends MakeParams {
  readonly imageId: ImageId;
  /** Absent: linked where the host has the image, else instant. */
  readonly kind?: CloneKind;
}

export const vmClone = defineJob<CloneParams, JobDeps>('vm.clone', 2)
  .local('reserve', reserve)
  .local('place', choose)
  .local('image', bases)
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
  .local('image', bases)
  .remote('volume', volume)
  .remote('seed', seed)
  .remote('define', define)
  .local('publish', publish)
  .build();
