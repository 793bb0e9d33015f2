/** OperationService on the wire. */
import type { OperationServiceServer } from '@berth/proto/agent/v1/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { Uploads } from '../volume/uploads.ts';
import { encodeOperation } from './encode.ts';
import type { Guard } from './guard.ts';

export function operationService(guard: Guard, operations: Operations, uploads: Uploads): OperationServiceServer {
  return {
    getOperation: guard.read('GetOperation', async (q) => encodeOperation(operations.get(q.operationId))),
    cancelOperation: guard.change(
      'CancelOperation',
      (q) => q.fence,
      async (q) => {
        const view = await operations.cancel(q.operationId);
        // the id may be that of an upload, or of the import that has just let go of one
        if (view.state === 'cancelled') await uploads.discard(q.operationId);
        return encodeOperation(view);
      },
    ),
    acknowledgeOperations: guard.change(
      'AcknowledgeOperations',
      (q) => q.fence,
      async (q) => {
        await uploads.forget(await operations.acknowledge(q.idPrefixes));
        return {};
      },
    ),
  };
}
