/** VolumeDataService on the wire. */
import type * as wire from '@berth/proto/agent/v1/volumedata.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { KEPT_FORMATS, type KeptFormat } from '@berth/shared/model/volume.ts';
import { DEFAULT_CLUSTER_BYTES, type MakeSpec } from '../drivers/volume-work.ts';
import { checkDevice } from '../domain/devices.ts';
import { checkDomainRef } from '../domain/domains.ts';
import { checkDomainSpec } from '../domain/spec.ts';
import { checkId, checkUploadId } from '../ids.ts';
import { volumeGrant, type PeerPort } from '../peer/port.ts';
import type { Operations } from '../operations/operations.ts';
import { checkAssign, checkMakeSpec, checkResize, checkRewrite, checkVolumeId } from '../volume/volume-data.ts';
import { checkMove } from '../volume/moves.ts';
import { checkVolumeExport } from '../volume/volume-exports.ts';
import { checkReceive } from '../volume/receives.ts';
import type { VolumeParts } from '../volume/parts.ts';
import { operationIdOf, orUndefined, present, toNumber } from './decode.ts';
import { readSpec } from './domain.ts';
import { encodeOperation } from './encode.ts';
import type { Guard } from './guard.ts';

interface PeerParts {
  readonly peerPort: Pick<PeerPort, 'openExport'>;
  readonly peerAddress: () => string;
}

export function volumeDataService(
  guard: Guard,
  operations: Operations,
  { data, devices, moves, exports, receives, ...peers }: VolumeParts & PeerParts,
): wire.VolumeDataServiceServer {
  return {
    makeVolume: guard.operation('MakeVolume', async (q) =>
      encodeOperation(await operations.run(data.make, operationIdOf(q), checkMakeSpec(readMake(q)))),
    ),
    assignVolume: guard.operation('AssignVolume', async (q) => {
      const wanted = { volumeId: q.volumeId, from: q.fromVmId, to: q.toVmId };
      return encodeOperation(await operations.run(data.assign, operationIdOf(q), checkAssign(wanted)));
    }),
    resizeVolume: guard.operation('ResizeVolume', async (q) => {
      const wanted = { volumeId: q.volumeId, sizeBytes: toNumber('the size', q.sizeBytes), shrink: q.shrink };
      return encodeOperation(await operations.run(data.resize, operationIdOf(q), checkResize(wanted)));
    }),
    rewriteVolume: guard.operation('RewriteVolume', async (q) => {
      const { volumeId, ifOther } = q;
      const wanted = { volumeId, format: readKept(q.format), imageDigest: orUndefined(q.imageDigest), ifOther };
      return encodeOperation(await operations.run(data.rewrite, operationIdOf(q), checkRewrite(wanted)));
    }),
    wipeVolume: guard.operation('WipeVolume', async (q) =>
      encodeOperation(await operations.run(data.wipe, operationIdOf(q), checkVolumeId({ volumeId: q.volumeId }))),
    ),
    moveVolume: guard.operation('MoveVolume', async (q) => {
      const wanted = checkMove({ volumeId: q.volumeId, to: q.toPoolId, ...(q.full && { full: true }) });
      return encodeOperation(await operations.run(moves.move, operationIdOf(q), wanted));
    }),
    finishMove: guard.operation('FinishMove', async (q) =>
      encodeOperation(await operations.run(moves.finish, operationIdOf(q), checkId('volume', q.volumeId))),
    ),
    receiveVolume: guard.operation('ReceiveVolume', async (q) => {
      const format = readFormat(q.format);
      const spec = checkReceive({
        uploadId: operationIdOf(q),
        ...{ volumeId: q.volumeId, vmId: '', imageDigest: orUndefined(q.imageDigest) },
        sizeBytes: toNumber('the size', q.sizeBytes),
        ...(format === 'raw' && { format }),
        ...(q.poolId && { poolId: checkId('pool', q.poolId) }),
      });
      return encodeOperation(await operations.run(receives.receive, operationIdOf(q), spec));
    }),
    openVolumeExport: guard.change(
      'OpenVolumeExport',
      (q) => q.fence,
      async (q) => {
        const volumeId = checkId('volume', q.volumeId);
        if (q.peerHostId === '') throw invalidArgument('an export must be for one named host');
        const exportId = q.exportId === '' ? '' : checkUploadId(q.exportId);
        await receives.serve({ volumeId, exportId });
        const grant = { digest: volumeGrant(volumeId, exportId), peerHostId: q.peerHostId };
        return { ticket: peers.peerPort.openExport(grant).ticket, address: peers.peerAddress() };
      },
    ),
    exportVolume: guard.operation('ExportVolume', async ({ volumeId, format, exportId, ...q }) => {
      const wanted = checkVolumeExport({ volumeId, format, exportId });
      return encodeOperation(await operations.run(exports.make, operationIdOf(q), wanted));
    }),
    attachDevice: guard.operation('AttachDevice', async (q) => {
      const spec = checkDomainSpec(readSpec(present('domain spec', q.spec)));
      const wanted = { spec, device: checkDevice(q.device) };
      return encodeOperation(await operations.run(devices.attach, operationIdOf(q), wanted));
    }),
    detachDevice: guard.operation('DetachDevice', async (q) => {
      const wanted = { ...checkDomainRef({ uuid: q.uuid, vmId: q.vmId }), device: checkDevice(q.device) };
      return encodeOperation(await operations.run(devices.detach, operationIdOf(q), wanted));
    }),
  };
}

function readKept(format: string): KeptFormat {
  return KEPT_FORMATS.find((f) => f === format) ?? readFormat(format);
}

export function readFormat(format: string): 'qcow2' | 'raw' {
  if (format === 'qcow2' || format === 'raw') return format;
  throw invalidArgument(`a volume is qcow2 or raw, not ${JSON.stringify(format.slice(0, 20))}`);
}

function readMake(q: wire.MakeVolumeRequest): MakeSpec {
  const format = readFormat(q.format);
  return {
    ...{ volumeId: q.volumeId, vmId: q.vmId, imageDigest: orUndefined(q.imageDigest) },
    sizeBytes: toNumber('the size', q.sizeBytes),
    ...(format === 'raw' && { format }),
    // checked with the rest
    preallocation: (q.preallocation || 'off') as MakeSpec['preallocation'],
    clusterBytes: q.clusterBytes || DEFAULT_CLUSTER_BYTES,
    lazyRefcounts: q.lazyRefcounts,
    ...(q.poolId && { poolId: checkId('pool', q.poolId) }),
    ...(q.unit && { unit: { name: q.unit, key: q.unitKey ?? '' } }),
  };
}
