/** ExportService on the wire. */
import type { ExportServiceServer, ReadExportRequest, ReadExportResponse } from '@berth/proto/agent/v1/export.ts';
import type { Operations } from '../operations/operations.ts';
import { checkExport, type Exports } from '../volume/exports.ts';
import { operationIdOf, readFence, toNumber } from './decode.ts';
import { encodeOperation } from './encode.ts';
import type { Guard } from './guard.ts';

export const exportService = (guard: Guard, operations: Operations, exports: Exports): ExportServiceServer => ({
  makeExport: guard.operation('MakeExport', async (q) => {
    const { digest, format, exportId } = q;
    const wanted = checkExport({ digest, format, exportId });
    return encodeOperation(await operations.run(exports.make, operationIdOf(q), wanted));
  }),
  readExport: guard.serverStream('ReadExport', async (q: ReadExportRequest, send, signal) => {
    await guard.fence.check(readFence(q.fence));
    for await (const piece of exports.read(q.exportId, toNumber('a position', q.offset), signal))
      await send(messageOf(piece));
  }),
});

const messageOf = (piece: Uint8Array | number): ReadExportResponse =>
  typeof piece === 'number'
    ? { message: { $case: 'zeros', value: BigInt(piece) } }
    : { message: { $case: 'data', value: Buffer.from(piece.buffer, piece.byteOffset, piece.length) } };
