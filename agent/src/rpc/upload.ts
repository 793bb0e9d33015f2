/** UploadService on the wire. */
import type * as wire from '@berth/proto/agent/v1/upload.ts';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { checkId } from '../ids.ts';
import type { Operations } from '../operations/operations.ts';
import { checkInstall, type VolumeUploads } from '../volume/volume-uploads.ts';
import { operationIdOf, readFence, toNumber } from './decode.ts';
import { encodeOperation, toWire } from './encode.ts';
import type { Guard } from './guard.ts';
import { readFormat } from './volume-data.ts';

export function uploadService(guard: Guard, operations: Operations, uploaded: VolumeUploads): wire.UploadServiceServer {
  return {
    findUpload: guard.change(
      'FindUpload',
      (q) => q.fence,
      async ({ uploadId }) => {
        const { receivedBytes, ...found } = await uploaded.find(uploadId, new AbortController().signal);
        return { ...found, receivedBytes: toWire(receivedBytes) };
      },
    ),
    receiveUpload: guard.clientStream('ReceiveUpload', (requests, signal) =>
      receive(guard, uploaded, requests, signal),
    ),
    installVolume: guard.operation('InstallVolume', async (q) => {
      const { uploadId, volumeId, fileFormat } = q;
      const wanted = checkInstall({
        ...{ uploadId, volumeId, fileFormat, format: readFormat(q.format) },
        sizeBytes: toNumber('the size', q.sizeBytes),
        ...(q.poolId && { poolId: checkId('pool', q.poolId) }),
      });
      return encodeOperation(await operations.run(uploaded.install, operationIdOf(q), wanted));
    }),
  };
}

async function receive(
  guard: Guard,
  uploaded: VolumeUploads,
  requests: AsyncIterable<wire.ReceiveUploadRequest>,
  signal: AbortSignal,
): Promise<wire.ReceiveUploadResponse> {
  const messages = requests[Symbol.asyncIterator]();
  const first = (await messages.next()) as IteratorResult<wire.ReceiveUploadRequest, undefined>;
  const begin = first.done ? undefined : first.value.message;
  if (begin?.$case !== 'begin') throw invalidArgument('an upload must begin with its id and size');
  const { fence, uploadId, ...numbers } = begin.value;
  await guard.fence.check(readFence(fence));
  const part = {
    uploadId,
    fileBytes: toNumber('the file size', numbers.fileBytes),
    allocatedBytes: toNumber('the allocated part of the file', numbers.allocatedBytes),
    offset: toNumber('the position', numbers.offset),
  };
  const coming = new Coming(messages);
  const received = await uploaded.receive(part, coming.pieces(), () => coming.sha256, signal);
  return { receivedBytes: toWire(received) };
}

/** What follows the beginning: pieces, then the hash of all. */
class Coming {
  sha256: string | undefined;

  constructor(private readonly messages: AsyncIterator<wire.ReceiveUploadRequest>) {}

  async *pieces(): AsyncGenerator<Piece> {
    for (;;) {
      const next = await this.messages.next();
      if (next.done) return;
      const { message } = next.value;
      if (this.sha256 !== undefined) throw invalidArgument('nothing may follow the end of an upload');
      if (message?.$case === 'data') yield message.value;
      else if (message?.$case === 'zeros' && message.value > 0n) yield toNumber('a run of zeros', message.value);
      else if (message?.$case === 'end') this.sha256 = checkSha256(message.value.sha256);
      else throw invalidArgument('only bytes, runs of zeros and an end may follow the beginning of an upload');
    }
  }
}

function checkSha256(hex: string): string {
  if (/^[0-9a-f]{64}$/.test(hex)) return hex;
  throw invalidArgument('the hash of an upload is no SHA-256 (64 hexadecimal digits)');
}
