/** What a fake host does with volumes besides making and removing them. Owners and sizes only. */
import type { OperationView } from '@berth/controller/hosts/agent-client.ts';
import type { VolumeClient } from '@berth/controller/hosts/volume-client.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { FakeDomain, FakeImage, FakeVolume } from './fake-host-parts.ts';

export interface FakeParts {
  readonly name: string;
  readonly diskFull: boolean;
  readonly volumes: Map<string, FakeVolume>;
  readonly images: ReadonlyMap<string, FakeImage>;
  readonly domains: ReadonlyMap<string, FakeDomain>;
}
type Operate = (id: string, what: unknown, effect: () => void) => Promise<OperationView>;

export function fakeVolumes(host: FakeParts, operate: Operate): VolumeClient<OperationView> {
  const need = (volumeId: string): FakeVolume => {
    const volume = host.volumes.get(volumeId);
    if (!volume) throw new ClusterError('NOT_FOUND', `volume ${volumeId} is not on ${host.name}`);
    return volume;
  };
  return {
    make: (id, v) =>
      operate(id, ['makeVolume', v], () => {
        if (host.diskFull) throw new ClusterError('DISK_FULL', 'the pool is full');
        if (v.imageDigest !== undefined && !host.images.has(v.imageDigest))
          throw new ClusterError('NOT_FOUND', `image ${v.imageDigest} is not on ${host.name}`);
        const { vmId, sizeBytes, imageDigest } = v;
        host.volumes.set(v.volumeId, { vmId, sizeBytes, imageDigest, seed: false });
      }),
    assign: (id, v) =>
      operate(id, ['assignVolume', v], () => {
        const volume = need(v.volumeId);
        if (volume.vmId === v.to) return;
        if (volume.vmId !== v.from) throw new ClusterError('BAD_STATE', `volume ${v.volumeId} is ${volume.vmId}'s`);
        host.volumes.set(v.volumeId, { ...volume, vmId: v.to });
      }),
    resize: (id, v) =>
      operate(id, ['resizeVolume', v], () => {
        const volume = need(v.volumeId);
        if (v.sizeBytes < volume.sizeBytes && !v.shrink) throw new ClusterError('BAD_STATE', 'it would become smaller');
        host.volumes.set(v.volumeId, { ...volume, sizeBytes: v.sizeBytes });
      }),
  };
}
