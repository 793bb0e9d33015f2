/** Which guest that runs has a file open: in its own XML, whosever domain it is, so that no two write to one disk. */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Disks, VolumeSeen } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import { disksIn } from '../domain/xml/live.ts';

export interface FileUser {
  readonly uuid: string;
  readonly name: string;
  /** As the guest calls the disk. */
  readonly target: string;
}

/** Its own file, and the one by which a guest has it that is moving to its image, which came while it ran. */
export const filesOf = (
  disks: Pick<Disks, 'volumePath' | 'movedPath'>,
  { volumeId, seed, format }: Pick<VolumeSeen, 'volumeId' | 'seed' | 'format'>,
): readonly string[] => [disks.volumePath(volumeId, seed, format), ...(seed ? [] : [disks.movedPath(volumeId)])];

/**
 * Each domain is asked anew: what was last seen of one that has just started says that it is off. One that cannot be asked
 * fails the call.
 * @param files all names of one thing
 */
export async function userOf(
  hypervisor: Pick<Hypervisor, 'list' | 'getRunningXml'>,
  files: readonly string[],
): Promise<FileUser | undefined> {
  for (const { uuid, name } of await hypervisor.list()) {
    const xml = await hypervisor.getRunningXml(uuid).catch(unlessOff);
    const disk = disksIn(xml).find((d) => files.includes(d.file));
    if (disk) return { uuid, name, target: disk.target };
  }
  return undefined;
}

/** It has ended, or was removed, at this moment. */
function unlessOff(e: unknown): string {
  if (isClusterError(e, 'NOT_FOUND', 'BAD_STATE')) return '';
  throw e;
}

/** @throws IN_USE while a guest runs with it. */
export async function insistUnused(
  deps: {
    readonly hypervisor: Pick<Hypervisor, 'list' | 'getRunningXml'>;
    readonly disks: Pick<Disks, 'volumePath' | 'movedPath'>;
  },
  v: Pick<VolumeSeen, 'volumeId' | 'seed' | 'format'>,
): Promise<void> {
  const user = await userOf(deps.hypervisor, filesOf(deps.disks, v));
  if (user)
    throw new ClusterError(
      'IN_USE',
      `volume ${v.volumeId} is in use: domain ${user.name} runs with it as ${user.target}. Stop it first`,
    );
}
