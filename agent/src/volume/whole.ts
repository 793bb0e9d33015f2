/**
 * Volumes whose file is not the whole truth: their image is still coming to this host, so that only their guests can read it, or
 * their guest was moving to another file when it ended, and nobody has settled yet which of the two is the disk.
 */
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Disks, VolumeSeen } from '../drivers/disks.ts';

/** For those who are about to read or change the file of a volume. @throws BAD_STATE, RESOURCE_BUSY */
export async function insistWhole(
  disks: Pick<Disks, 'hasTwoFiles'>,
  { volumeId, filling }: Pick<VolumeSeen, 'volumeId' | 'filling'>,
): Promise<void> {
  if (filling) throw badState(`volume ${volumeId}: its image is not whole on this host yet. Try again when it is`);
  await insistOne(disks, volumeId);
}

/** For those to whom it is all one what its image is. @throws RESOURCE_BUSY */
export async function insistOne(disks: Pick<Disks, 'hasTwoFiles'>, volumeId: string): Promise<void> {
  if (await disks.hasTwoFiles(volumeId)) throw moving(volumeId);
}

export const moving = (volumeId: string): ClusterError =>
  new ClusterError(
    'RESOURCE_BUSY',
    `volume ${volumeId} is just being moved to the file of its image, which has come to this host. Try again in a moment`,
  );
