/** Volumes whose image is still coming to this host: their guests read it through a socket, and nobody else can. */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { VolumeSeen } from '../drivers/disks.ts';

/** @throws BAD_STATE */
export function insistWhole({ volumeId, filling }: Pick<VolumeSeen, 'volumeId' | 'filling'>): void {
  if (filling) throw badState(`volume ${volumeId}: its image is not whole on this host yet. Try again when it is`);
}
