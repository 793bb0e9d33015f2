/** CaptureService on the wire. */
import type { CaptureServiceServer } from '@berth/proto/agent/v1/capture.ts';
import { checkDomainRef } from '../domain/domains.ts';
import type { Operations } from '../operations/operations.ts';
import { checkCapture, type Capture } from '../volume/capture.ts';
import { operationIdOf } from './decode.ts';
import { encodeOperation } from './encode.ts';
import type { Guard } from './guard.ts';

export const captureService = (guard: Guard, operations: Operations, capture: Capture): CaptureServiceServer => ({
  captureDisks: guard.operation('CaptureDisks', async (q) => {
    const ref = checkDomainRef({ uuid: q.uuid, vmId: q.vmId });
    const disks = q.disks.map(({ target, volumeId, uploadId }) => ({ target, volumeId, uploadId }));
    const wanted = checkCapture({ ...ref, disks, ...(q.snapshot && { snapshot: q.snapshot }) });
    return encodeOperation(await operations.run(capture.disks, operationIdOf(q), wanted));
  }),
});
