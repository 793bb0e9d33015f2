/** Room in the pool: how much there is, and a refusal in words before work begins that cannot fit. */
import { statfs } from 'node:fs/promises';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';

export interface Space {
  readonly diskBytes: number;
  /** What an unprivileged writer may still use. */
  readonly diskFreeBytes: number;
}

export async function spaceOf(dir: string): Promise<Space> {
  const s = await statfs(dir);
  return { diskBytes: s.blocks * s.bsize, diskFreeBytes: s.bavail * s.bsize };
}

/** @throws DISK_FULL that names what is needed and what there is. */
export async function requireRoom(dir: string, neededBytes: number, what: string): Promise<void> {
  const { diskFreeBytes } = await spaceOf(dir);
  if (neededBytes > diskFreeBytes) throw diskFull(dir, neededBytes, diskFreeBytes, what);
}

export const diskFull = (dir: string, neededBytes: number, freeBytes: number, what: string): ClusterError =>
  new ClusterError(
    'DISK_FULL',
    `no room for ${what}: ${formatBytes(neededBytes)} needed, ${formatBytes(freeBytes)} free in ${dir}`,
    { neededBytes: String(neededBytes), freeBytes: String(freeBytes) },
  );
