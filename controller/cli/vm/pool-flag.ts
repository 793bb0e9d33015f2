/** The flag of create and clone that says in which pool disks lie. */
import type { Flag } from '../core/command.ts';

export const POOL: Flag = {
  spec: '--pool <pool>',
  description: 'storage pool that its disks lie in (default: local, the folder of the host)',
  kind: 'pool',
};
