/** What a host is to write into the disk of a guest that has no cloud-init. Pure. */
import type { Vm, VmDisk, VmSpec } from '@berth/shared/model/vm.ts';
import type { CustomizeWanted, SeedWanted } from '../hosts/agent-client.ts';

/** Where its system is: the disk that it boots from. */
export const systemDisk = ({ disks }: Pick<VmSpec, 'disks'>): VmDisk | undefined =>
  disks.find((d) => (d.imageId ?? d.copyOf) !== undefined) ?? disks[0];

/** Undefined when it is told by a seed, or not at all. */
export function offlineWanted(vm: Vm): CustomizeWanted | undefined {
  const disk = systemDisk(vm.spec);
  if (vm.spec.identity !== 'offline' || disk === undefined) return undefined;
  return {
    volumeId: disk.volumeId,
    domainUuid: vm.uuid,
    actions: {
      hostname: vm.name,
      nics: nicsWanted(vm.spec),
      sshKeys: vm.spec.sshKeys,
      firstBoot: vm.spec.firstBoot ?? '',
      newMachineId: true,
      newHostKeys: true,
    },
  };
}

export const nicsWanted = ({ nics }: Pick<VmSpec, 'nics'>): SeedWanted['nics'] =>
  nics.map(({ mac, address, gateway, dns }) => ({ mac, address, gateway, dns }));
