/** VolumeClient over gRPC: encode, call, decode. No decisions. */
import type { Fence, Operation, OperationContext } from '@berth/proto/agent/v1/operation.ts';
import { VolumeDataServiceService as Data } from '@berth/proto/agent/v1/volumedata.ts';
import { domainToWire } from '@berth/shared/hardware/domain.ts';
import type { OperationView } from './agent-client.ts';
import type { Method } from './connection.ts';
import type { VolumeClient } from './volume-client.ts';

export interface VolumeCalls {
  change<Req>(m: Method<Req, Operation>, request: Req, timeoutMs?: number): Promise<OperationView>;
  context(operationId: string): OperationContext;
  fence(): Fence;
  ask<Req, Res>(m: Method<Req, Res>, request: Req): Promise<Res>;
}

export const volumeClient = ({ change, context, fence, ask }: VolumeCalls): VolumeClient<OperationView> => ({
  make: (id, { sizeBytes, imageDigest, poolId = '', ...v }) =>
    change(Data.makeVolume, {
      ...{ context: context(id), ...v, poolId },
      ...{ imageDigest: imageDigest ?? '', sizeBytes: BigInt(sizeBytes) },
    }),
  assign: (id, { volumeId, from, to }) =>
    change(Data.assignVolume, { context: context(id), volumeId, fromVmId: from, toVmId: to }),
  attachDevice: (id, spec, device) =>
    change(Data.attachDevice, { context: context(id), spec: domainToWire(spec), device }),
  detachDevice: (id, { uuid, vmId }, device) => change(Data.detachDevice, { context: context(id), uuid, vmId, device }),
  rewrite: (id, { imageDigest = '', ...v }) => change(Data.rewriteVolume, { context: context(id), ...v, imageDigest }),
  wipe: (id, volumeId) => change(Data.wipeVolume, { context: context(id), volumeId }),
  receive: (id, { sizeBytes, imageDigest = '', ...v }) =>
    change(Data.receiveVolume, { context: context(id), ...v, imageDigest, sizeBytes: BigInt(sizeBytes) }),
  openExport: (v) => ask(Data.openVolumeExport, { fence: fence(), ...v }),
  export: (id, v) => change(Data.exportVolume, { context: context(id), ...v }),
  move: (id, { volumeId, to, full = false }) =>
    change(Data.moveVolume, { context: context(id), volumeId, toPoolId: to, full }),
  finishMove: (id, volumeId) => change(Data.finishMove, { context: context(id), volumeId }),
  resize: (id, { sizeBytes, ...v }) =>
    change(Data.resizeVolume, { context: context(id), ...v, sizeBytes: BigInt(sizeBytes) }),
});
