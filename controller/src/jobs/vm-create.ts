/** Job vm.create: a VM with a blank disk on the host that fits best. */
import type { JobDeps } from './deps.ts';
import { defineJob } from './engine/define.ts';
import { choose, define, publish, reserve, seed, volume, type MakeParams } from './making.ts';

export const vmCreate = defineJob<MakeParams, JobDeps>('vm.create', 1)
  .local('reserve', reserve)
  .local('place', choose)
  .remote('volume', volume)
  .remote('seed', seed)
  .remote('define', define)
  .local('publish', publish)
  .build();
