/** Job vm.create: a VM with blank disks, or none, on the host that fits best; the media of its drives come there first. */
import type { JobDeps } from './deps.ts';
import { defineJob } from './engine/define.ts';
import { imagesStep } from './images-needed.ts';
import { imagesOnHost, poolCopies } from './pool-image.ts';
import { choose, define, publish, reserve, seed, volume, type MakeParams } from './making.ts';

export const vmCreate = defineJob<MakeParams, JobDeps>('vm.create', 2)
  .local('reserve', reserve)
  .local('place', choose)
  .local('image', imagesStep(imagesOnHost, poolCopies))
  .remote('volume', volume)
  .remote('seed', seed)
  .remote('define', define)
  .local('publish', publish)
  .build();

/** As 0.1 began them. */
export const vmCreateV1 = defineJob<MakeParams, JobDeps>('vm.create', 1)
  .local('reserve', reserve)
  .local('place', choose)
  .remote('volume', volume)
  .remote('seed', seed)
  .remote('define', define)
  .local('publish', publish)
  .build();
