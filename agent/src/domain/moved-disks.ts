/**
 * A disk may have two files while its guest moves from one to the other (drivers/disks.ts, beginMove). Which of them is the disk
 * the stored definition says, because libvirt writes it there when the guest has moved. So whoever defines the domain anew meanwhile
 * must name what the guest has, and whoever reads the file of a volume asks volume/whole.ts before.
 */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Disks, VolumeSeen } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import { diskChains } from './xml/chains.ts';

type Moving = Pick<Disks, 'movedPath' | 'isMoving' | 'hasTwoFiles' | 'finishMove' | 'endMove'>;

/**
 * Of a domain that is off: a move that was done but not noted is noted, any other is given up.
 * @param isSaved it goes on by the names that its guest had when it was saved: nothing is removed
 * @returns whether its definition names a file that is not a volume's own, so that it must be defined anew and `endMove` called then
 */
export async function settleMoves(
  storedXml: string,
  volumeIds: readonly string[],
  disks: Pick<Moving, 'movedPath' | 'finishMove' | 'endMove'>,
  isSaved = false,
): Promise<boolean> {
  const named = new Set(diskChains(storedXml).map((d) => d.file));
  const moved = volumeIds.filter((id) => named.has(disks.movedPath(id)));
  for (const id of volumeIds) {
    if (moved.includes(id)) await disks.finishMove(id);
    else if (!isSaved) await disks.endMove(id);
  }
  return moved.length > 0;
}

export interface SettleOffDeps {
  readonly hypervisor: Pick<Hypervisor, 'getXml' | 'getRunningXml'>;
  readonly disks: Pick<Moving, 'movedPath' | 'finishMove' | 'endMove'>;
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
  const isMoved = await settleMoves(stored, volumeIds, disks, isSaved);
  if (isMoved || diskChains(stored).some((d) => d.socket !== undefined)) await domains.restate(ref);
  // what was saved goes on by the name of the file that the guest had
  if (isSaved) return;
  // by hand it may have been started by that name just before
  const running = await hypervisor.getRunningXml(ref.uuid).catch(unlessOff);
  const inUse = new Set(running === undefined ? [] : diskChains(running).map((d) => d.file));
  for (const id of volumeIds) if (!inUse.has(disks.movedPath(id))) await disks.endMove(id);
}

/** Which volumes a definition of the domain calls by their second names: those that its guest has so, and of one that is off those that are so. */
export async function movedVolumes(
  hypervisor: Pick<Hypervisor, 'getXml' | 'getRunningXml'>,
  disks: Pick<Moving, 'movedPath' | 'hasTwoFiles'>,
  domain: { readonly uuid: string; readonly on: boolean },
  volumes: readonly VolumeSeen[],
): Promise<ReadonlySet<string>> {
  const running = domain.on ? await hypervisor.getRunningXml(domain.uuid).catch(unlessOff) : undefined;
  const moved: string[] = [];
  for (const { volumeId, imageDigest } of volumes) {
    if (imageDigest === undefined || (running === undefined && !(await disks.hasTwoFiles(volumeId)))) continue;
    const xml = running ?? (await hypervisor.getXml(domain.uuid));
    if (diskChains(xml).some((d) => d.file === disks.movedPath(volumeId))) moved.push(volumeId);
  }
  return new Set(moved);
}

/** It has ended at this moment. */
function unlessOff(e: unknown): undefined {
  if (!isClusterError(e, 'BAD_STATE')) throw e;
}
