/** Disks that are in snapshots of their VM stay what and where they are: words for people. Hosts see to it too. Pure. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { snapshotsWith } from '@berth/shared/model/snapshot.ts';
import type { Vm, VmDisk, VmSpec } from '@berth/shared/model/vm.ts';

/** @throws IN_USE */
export function insistNoSnapshots(vm: Vm, disk: Pick<VmDisk, 'target' | 'volumeId'>): void {
  const names = snapshotsWith(vm.snapshots, disk.volumeId).map((s) => s.name);
  if (names.length === 0) return;
  throw new ClusterError(
    'IN_USE',
    `disk ${disk.target} of vm ${vm.name} is in ${names.length === 1 ? 'snapshot' : 'snapshots'} ${names.join(', ')}, so it stays as it is. ` +
      `Delete them first: berth vm snapshot delete ${vm.name} ${names.join(' ')}`,
  );
}

/** Of a change to the VM: disks that go, become larger, or are called otherwise. @throws IN_USE */
export function insistDisksStay(vm: Vm, after: VmSpec): void {
  for (const d of vm.spec.disks) {
    const then = after.disks.find((x) => x.volumeId === d.volumeId);
    const stays = then?.sizeBytes === d.sizeBytes && then.target === d.target && then.poolId === d.poolId;
    if (!stays) insistNoSnapshots(vm, d);
  }
}
