/** What a fake host does with volumes besides making and removing them. Owners and sizes only. */
import type { OperationView } from '@berth/controller/hosts/agent-client.ts';
import type { VolumeClient } from '@berth/controller/hosts/volume-client.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { FakeDomain, FakeImage, FakeVolume } from './fake-host-parts.ts';

export interface FakeParts {
  readonly name: string;
  readonly diskFull: boolean;
  readonly deaf: boolean;
  readonly refusesLive: boolean;
  /** What was changed of guests that run. */
  readonly live: Map<string, string>;
  readonly volumes: Map<string, FakeVolume>;
  readonly uploads: Map<string, string>;
  readonly images: ReadonlyMap<string, FakeImage>;
  readonly domains: ReadonlyMap<string, FakeDomain>;
}
type Effect = () => OperationView['image'] | void;
export type Operate = (id: string, what: unknown, effect: Effect) => Promise<OperationView>;

export function fakeVolumes(host: FakeParts, operate: Operate): VolumeClient<OperationView> {
  const need = (volumeId: string): FakeVolume => {
    const volume = host.volumes.get(volumeId);
    if (!volume) throw new ClusterError('NOT_FOUND', `volume ${volumeId} is not on ${host.name}`);
    return volume;
  };
  const needOn = (uuid: string): void => {
    const power = host.domains.get(uuid)?.power;
    if (power !== 'running' && power !== 'paused') throw new ClusterError('BAD_STATE', `the domain is ${power}`);
  };
  return {
    make: (id, v) =>
      operate(id, ['makeVolume', v], () => {
        if (host.diskFull) throw new ClusterError('DISK_FULL', 'the pool is full');
        if (v.imageDigest !== undefined && !host.images.has(v.imageDigest))
          throw new ClusterError('NOT_FOUND', `image ${v.imageDigest} is not on ${host.name}`);
        const { vmId, sizeBytes, imageDigest, poolId } = v;
        host.volumes.set(v.volumeId, { vmId, sizeBytes, imageDigest, seed: false, ...(poolId && { poolId }) });
      }),
    assign: (id, v) =>
      operate(id, ['assignVolume', v], () => {
        const volume = need(v.volumeId);
        if (volume.vmId === v.to) return;
        if (volume.vmId !== v.from) throw new ClusterError('BAD_STATE', `volume ${v.volumeId} is ${volume.vmId}'s`);
        host.volumes.set(v.volumeId, { ...volume, vmId: v.to });
      }),
    attachDevice: (id, spec, device) =>
      operate(id, ['attachDevice', spec, device], () => {
        needOn(spec.uuid);
        if (host.refusesLive) throw new ClusterError('BAD_STATE', 'the guest will not have it');
        host.live.set(`${spec.uuid} ${device}`, 'there');
      }),
    detachDevice: (id, { uuid }, device) =>
      operate(id, ['detachDevice', uuid, device], () => {
        needOn(uuid);
        if (host.deaf) throw new ClusterError('BAD_STATE', 'the guest does not let go');
        host.live.delete(`${uuid} ${device}`);
      }),
    rewrite: (id, v) =>
      operate(id, ['rewriteVolume', v], () => {
        const volume = need(v.volumeId);
        const same = v.imageDigest === volume.imageDigest && v.format === (volume.format ?? 'qcow2');
        if (v.ifOther && same) return;
        if (host.diskFull) throw new ClusterError('DISK_FULL', 'the pool is full');
        const { format: _, ...rest } = volume;
        const format = v.format !== 'qcow2' && { format: v.format };
        host.volumes.set(v.volumeId, { ...rest, imageDigest: v.imageDigest, ...format });
      }),
    wipe: (id, volumeId) => operate(id, ['wipeVolume', volumeId], () => void need(volumeId)),
    receive: (id, v) =>
      operate(id, ['receiveVolume', v], () => {
        if (host.diskFull) throw new ClusterError('DISK_FULL', 'the pool is full');
        if (v.imageDigest !== undefined && !host.images.has(v.imageDigest))
          throw new ClusterError('NOT_FOUND', `image ${v.imageDigest} is not on ${host.name}`);
        const { sizeBytes, imageDigest, poolId } = v;
        const at = poolId !== '' && { poolId };
        host.volumes.set(v.volumeId, { vmId: '', sizeBytes, imageDigest, seed: false, ...at });
      }),
    openExport: async () => ({ ticket: 'ticket', address: 'h:1' }),
    export: (id, v) =>
      operate(id, ['exportVolume', v], () => {
        const { sizeBytes } = need(v.volumeId);
        const file = `file of ${v.volumeId}`;
        host.uploads.set(v.exportId, file);
        return { digest: '', virtualSizeBytes: sizeBytes, fileBytes: file.length, sourceDigest: 'sum' };
      }),
    // the file that it had before is told of as well, until it is gone
    move: (id, v) =>
      operate(id, ['moveVolume', v], () => {
        const { left, leftImage, ...volume } = need(v.volumeId);
        const was = volume.poolId ?? '';
        if (was === v.to) return;
        if (host.diskFull) throw new ClusterError('DISK_FULL', 'the pool is full');
        const { poolId: _, ...rest } = volume;
        const at = { ...(v.to !== '' && { poolId: v.to }), left: was };
        const back = left === v.to && leftImage !== undefined && { imageDigest: leftImage };
        const full = v.full && { imageDigest: undefined, leftImage: volume.imageDigest };
        host.volumes.set(v.volumeId, { ...rest, ...at, ...back, ...full });
      }),
    finishMove: (id, volumeId) =>
      operate(id, ['finishMove', volumeId], () => {
        const { left: _, leftImage: __, ...volume } = need(volumeId);
        host.volumes.set(volumeId, volume);
      }),
    resize: (id, v) =>
      operate(id, ['resizeVolume', v], () => {
        const volume = need(v.volumeId);
        if (v.sizeBytes < volume.sizeBytes && !v.shrink) throw new ClusterError('BAD_STATE', 'it would become smaller');
        host.volumes.set(v.volumeId, { ...volume, sizeBytes: v.sizeBytes });
      }),
  };
}
