/**
 * Snapshots are in the files of disks, and go back to them by their paths and sizes: what would lose them, or leave them without
 * their disk, is refused. Of those that libvirt knows; making and deleting them is domain/snapshots.ts's.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { readMark } from '../domain/metadata.ts';
import { disksOfThen } from '../domain/xml/snapable.ts';
import type { Disks, VolumeSeen } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';

export interface SnapshotsInDeps {
  readonly hypervisor: Pick<Hypervisor, 'list' | 'snapshots'>;
  readonly disks: Pick<Disks, 'volumePath'>;
}

/** @throws IN_USE */
export async function refuseSnapshots({ hypervisor, disks }: SnapshotsInDeps, volume: VolumeSeen): Promise<void> {
  if (volume.vmId === '' || volume.seed) return;
  const owner = (await hypervisor.list()).find((d) => readMark(d.metadataXml)?.vmId === volume.vmId);
  if (owner === undefined) return;
  const file = disks.volumePath(volume.volumeId, false, volume.format);
  const within = (await hypervisor.snapshots.list(owner.uuid)).filter((s) =>
    disksOfThen(s.domainXml).some((d) => d.file === file && (s.external || s.disks.includes(d.target))),
  );
  const [first] = within;
  if (first === undefined) return;
  const names = within.map((s) => s.name);
  throw new ClusterError(
    'IN_USE',
    `volume ${volume.volumeId} of vm ${owner.name} is in ${names.length === 1 ? 'snapshot' : 'snapshots'} ${names.join(', ')}, which ` +
      `this would end. Delete what is not needed any more first (berth vm snapshot delete ${owner.name} ${first.name})`,
  );
}
