/** UploadClient over gRPC: encode, call, decode. No decisions. */
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ClientWritableStream } from '@grpc/grpc-js';
import type { Fence, Operation, OperationContext } from '@berth/proto/agent/v1/operation.ts';
import { UploadServiceService as Uploads, type ReceiveUploadRequest } from '@berth/proto/agent/v1/upload.ts';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import type { OperationView } from './agent-client.ts';
import type { Connection, Method } from './connection.ts';
import type { UploadClient, UploadPart } from './upload-client.ts';

export interface UploadCalls {
  change<Req>(m: Method<Req, Operation>, request: Req): Promise<OperationView>;
  context(operationId: string): OperationContext;
  fence(): Fence;
  ask<Req, Res>(m: Method<Req, Res>, request: Req): Promise<Res>;
  connection(): Connection;
  translate(e: unknown): Error;
}

export const uploadClient = (o: UploadCalls): UploadClient<OperationView> => ({
  async find(uploadId) {
    const { receivedBytes, tailSha256, whole } = await o.ask(Uploads.findUpload, { fence: o.fence(), uploadId });
    return { receivedBytes: Number(receivedBytes), tailSha256, whole };
  },
  send: (part, data, ending) => send(o, part, data, ending),
  install: (id, { sizeBytes, ...v }) =>
    o.change(Uploads.installVolume, { context: o.context(id), ...v, sizeBytes: BigInt(sizeBytes) }),
});

function send(o: UploadCalls, part: UploadPart, data: Readable, ending: () => string): Promise<number> {
  let sink: ClientWritableStream<ReceiveUploadRequest> | undefined;
  const answer = new Promise<number>((resolve, reject) => {
    sink = o
      .connection()
      .clientStream(Uploads.receiveUpload, (e, r) => (e ? reject(o.translate(e)) : resolve(Number(r?.receivedBytes))));
  });
  const begin = { fence: o.fence(), uploadId: part.uploadId, ...numbersOf(part) };
  const messages = async function* (): AsyncIterable<ReceiveUploadRequest> {
    yield { message: { $case: 'begin', value: begin } };
    for await (const piece of data as AsyncIterable<Piece>) yield { message: messageOf(piece) };
    yield { message: { $case: 'end', value: { sha256: ending() } } };
  };
  if (sink) void feed(sink, messages(), answer);
  return answer;
}

const numbersOf = ({ fileBytes, allocatedBytes, offset }: UploadPart) => ({
  ...{ fileBytes: BigInt(fileBytes), allocatedBytes: BigInt(allocatedBytes), offset: BigInt(offset) },
});

const messageOf = (piece: Piece): ReceiveUploadRequest['message'] =>
  typeof piece === 'number'
    ? { $case: 'zeros', value: BigInt(piece) }
    : { $case: 'data', value: Buffer.from(piece.buffer, piece.byteOffset, piece.length) };

async function feed(
  sink: ClientWritableStream<ReceiveUploadRequest>,
  messages: AsyncIterable<ReceiveUploadRequest>,
  answer: Promise<number>,
): Promise<void> {
  const answered = new AbortController();
  const over = (): void => answered.abort();
  answer.then(over, over);
  try {
    await pipeline(messages, sink as unknown as Writable, { signal: answered.signal });
  } catch {
    sink.cancel(); // the sender broke off, or the agent answered early
  }
}
