/** What a host is asked for so that a VM is as its spec says: the domain, and the images that it needs there. Pure. */
import type { DomainDefinition } from '@berth/shared/hardware/domain.ts';
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import type { Cluster } from '@berth/shared/model/cluster.ts';
import type { ImageId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import type { Vm, VmSpec } from '@berth/shared/model/vm.ts';
import { baselineOf, cpuWanted } from './cpu-wanted.ts';

interface Known {
  readonly images: { get(id: ImageId): Pick<Image, 'digest'> | undefined };
  readonly clusters: { get(name: string): Cluster | undefined };
}

export const domainWanted = ({ images, clusters }: Known, { spec, ...vm }: Vm): DomainDefinition => ({
  vmId: vm.id,
  uuid: vm.uuid,
  name: vm.name,
  vcpus: spec.vcpus,
  memoryBytes: spec.memoryBytes,
  disks: spec.disks.map(({ target, volumeId, options }) => ({ target, volumeId, ...(options && { options }) })),
  nics: spec.nics.map(({ mac, bridge, model, options }) => ({ mac, bridge, model, ...(options && { options }) })),
  seedVolumeId: spec.seedVolumeId,
  generation: vm.generation,
  ...withHardware(cpuWanted(spec.hardware, baselineOf({ clusters }))),
  ...(spec.cdroms && {
    cdroms: spec.cdroms.map(({ target, bus, imageId }) => ({
      ...{ target, bus },
      imageDigest: imageId && images.get(imageId)?.digest,
    })),
  }),
});

const withHardware = (hardware: Hardware | undefined) => (hardware === undefined ? {} : { hardware });

/** Below its disks, in its drives, and those that its disks are made as copies of. */
export const imagesForClone = (spec: Pick<VmSpec, 'disks' | 'cdroms'>): readonly ImageId[] => [
  ...new Set([...imagesOf(spec), ...spec.disks.flatMap((d) => d.copyOf ?? [])]),
];

/** Each once. */
export function imagesOf(spec: Pick<VmSpec, 'disks' | 'cdroms'>): readonly ImageId[] {
  return [...new Set([...spec.disks, ...(spec.cdroms ?? [])].flatMap((d) => d.imageId ?? []))];
}
