/**
 * A disk may have two files while its guest moves from one to the other (drivers/disks.ts, beginMove). Which of them is the disk
 * the stored definition says, because libvirt writes it there when the guest has moved.
 */
import type { Disks } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import { diskChains } from './xml/chains.ts';

/**
 * Of a domain that is off: a move that was done but not noted is noted, any other is given up.
 * @param isSaved it goes on by the names that its guest had when it was saved: nothing is removed
 * @returns whether its definition names a file that is not a volume's own, so that it must be defined anew and `endMove` called then
 */
export async function settleMoves(
  storedXml: () => Promise<string>,
  volumeIds: readonly string[],
  disks: Pick<Disks, 'movedPath' | 'isMoving' | 'finishMove' | 'endMove'>,
  isSaved = false,
): Promise<boolean> {
  let named = false;
  for (const id of volumeIds) {
    if (!(await disks.isMoving(id))) continue;
    const isMoved = diskChains(await storedXml()).some((d) => d.file === disks.movedPath(id));
    if (isMoved) await disks.finishMove(id);
    else if (!isSaved) await disks.endMove(id);
    named ||= isMoved;
  }
  return named;
}

export interface SettleOffDeps {
  readonly hypervisor: Pick<Hypervisor, 'getXml'>;
  readonly disks: Pick<Disks, 'movedPath' | 'isMoving' | 'finishMove' | 'endMove'>;
  readonly domains: { restate(ref: SettledDomain): Promise<void> };
}

interface SettledDomain {
  readonly uuid: string;
  readonly vmId: string;
}

/** A domain that is off names its volumes' own files afterwards, and no socket; of each there is one, unless it is saved. */
export async function settleOff(
  { hypervisor, disks, domains }: SettleOffDeps,
  ref: SettledDomain,
  volumeIds: readonly string[],
  isSaved = false,
): Promise<void> {
  const stored = await hypervisor.getXml(ref.uuid);
  const isMoved = await settleMoves(async () => stored, volumeIds, disks, isSaved);
  if (isMoved || diskChains(stored).some((d) => d.socket !== undefined)) await domains.restate(ref);
  // what was saved goes on by the name of the file that the guest had
  if (!isSaved) for (const id of volumeIds) await disks.endMove(id);
}
