/** ImageService on the wire. */
import type * as wire from '@berth/proto/agent/v1/image.ts';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { checkDigest } from '../ids.ts';
import { checkOperationId } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { PeerPort } from '../peer/port.ts';
import { checkFetch, checkImport, type Images } from '../volume/images.ts';
import type { Receives } from '../volume/receives.ts';
import type { Uploads } from '../volume/uploads.ts';
import { operationIdOf, readFence, toNumber } from './decode.ts';
import { encodeImage, encodeOperation, toWire } from './encode.ts';
import type { Guard } from './guard.ts';

export interface ImageServiceDeps {
  readonly images: Images;
  readonly uploads: Uploads;
  readonly operations: Operations;
  readonly peerPort: Pick<PeerPort, 'openExport'>;
  readonly peerAddress: () => string;
  readonly receives: Pick<Receives, 'offer'>;
}

export function imageService(guard: Guard, d: ImageServiceDeps): wire.ImageServiceServer {
  const { operations, images } = d;
  return {
    upload: guard.clientStream('Upload', (requests, signal) => receive(guard, d.uploads, requests, signal)),
    importImage: guard.operation('ImportImage', async (q) => {
      const wanted = checkImport({ uploadId: q.uploadId, format: q.format });
      return encodeOperation(await operations.run(images.import, operationIdOf(q), wanted));
    }),
    fetchImage: guard.operation('FetchImage', async (q) => {
      const wanted = { digest: q.digest, virtualSizeBytes: toNumber('the virtual size', q.virtualSizeBytes) };
      return encodeOperation(await operations.run(images.fetch, operationIdOf(q), checkFetch(wanted)));
    }),
    offerSource: guard.change(
      'OfferSource',
      (q) => q.fence,
      async (q) => {
        checkOperationId(q.operationId);
        const peer = { peerHostId: q.peerHostId, address: q.peerAddress, ticket: q.ticket };
        if (!d.receives.offer(q.operationId, peer)) images.offer(q.operationId, peer, q.replace === true);
        return {};
      },
    ),
    openExport: guard.change(
      'OpenExport',
      (q) => q.fence,
      (q) => openExport(d, q),
    ),
    removeImage: guard.operation('RemoveImage', async (q) =>
      encodeOperation(await operations.run(images.remove, operationIdOf(q), checkDigest(q.digest))),
    ),
    listImages: guard.read('ListImages', async () => ({ images: (await images.list()).map(encodeImage) })),
  };
}

async function openExport(d: ImageServiceDeps, q: wire.OpenExportRequest): Promise<wire.OpenExportResponse> {
  const digest = checkDigest(q.digest);
  if (q.peerHostId === '') throw invalidArgument('an export must be for one named host');
  if (!(await d.images.canServe(digest))) throw notFound(`image ${digest} is not on this host`);
  return { ticket: d.peerPort.openExport({ digest, peerHostId: q.peerHostId }).ticket, address: d.peerAddress() };
}

async function receive(
  guard: Guard,
  uploads: Uploads,
  requests: AsyncIterable<wire.UploadRequest>,
  signal: AbortSignal,
): Promise<wire.UploadResponse> {
  const messages = requests[Symbol.asyncIterator]();
  const first = (await messages.next()) as IteratorResult<wire.UploadRequest, undefined>;
  const begin = first.done ? undefined : first.value.message;
  if (begin?.$case !== 'begin') throw invalidArgument('an upload must begin with its id and size');
  await guard.fence.check(readFence(begin.value.fence));
  const { uploadId } = begin.value;
  const fileBytes = toNumber('the file size', begin.value.fileBytes);
  const allocatedBytes = toNumber('the allocated part of the file', begin.value.allocatedBytes);
  const received = await uploads.receive({ uploadId, fileBytes, allocatedBytes }, piecesIn(messages), signal);
  return { receivedBytes: toWire(received) };
}

async function* piecesIn(messages: AsyncIterator<wire.UploadRequest>): AsyncGenerator<Piece> {
  for (;;) {
    const next = await messages.next();
    if (next.done) return;
    const { message } = next.value;
    if (message?.$case === 'data') yield message.value;
    else if (message?.$case === 'zeros' && message.value > 0n) yield toNumber('a run of zeros', message.value);
    else throw invalidArgument('only bytes, and runs of zeros, may follow the beginning of an upload');
  }
}
