/** VolumeClient over gRPC: encode, call, decode. No decisions. */
import type { Operation, OperationContext } from '@berth/proto/agent/v1/operation.ts';
import { VolumeDataServiceService as Data } from '@berth/proto/agent/v1/volumedata.ts';
import type { OperationView } from './agent-client.ts';
import type { Method } from './connection.ts';
import type { VolumeClient } from './volume-client.ts';

export interface VolumeCalls {
  change<Req>(m: Method<Req, Operation>, request: Req, timeoutMs?: number): Promise<OperationView>;
  context(operationId: string): OperationContext;
}

export const volumeClient = ({ change, context }: VolumeCalls): VolumeClient<OperationView> => ({
  make: (id, { sizeBytes, imageDigest, ...v }) =>
    change(Data.makeVolume, {
      ...{ context: context(id), ...v },
      ...{ imageDigest: imageDigest ?? '', sizeBytes: BigInt(sizeBytes) },
    }),
  assign: (id, { volumeId, from, to }) =>
    change(Data.assignVolume, { context: context(id), volumeId, fromVmId: from, toVmId: to }),
  resize: (id, { sizeBytes, ...v }) =>
    change(Data.resizeVolume, { context: context(id), ...v, sizeBytes: BigInt(sizeBytes) }),
});
