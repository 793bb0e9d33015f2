/** The calls to an agent that are streams of bytes: uploads, serial logs, consoles. With back-pressure; decides nothing. */
import { Duplex, type Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  status as Status,
  type ClientReadableStream,
  type ClientWritableStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { DomainServiceService as Domains, type ConsoleInput } from '@berth/proto/agent/v1/domain.ts';
import { ImageServiceService as Images, type UploadBegin, type UploadRequest } from '@berth/proto/agent/v1/image.ts';
import { PowerServiceService as Power } from '@berth/proto/agent/v1/power.ts';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import type { Connection } from './connection.ts';

type Translate = (e: unknown) => Error;

/** Resolves with the bytes that arrived. */
export function sendUpload(
  connection: Connection,
  begin: UploadBegin,
  data: Readable,
  translate: Translate,
): Promise<number> {
  let sink: ClientWritableStream<UploadRequest> | undefined;
  const answer = new Promise<number>((resolve, reject) => {
    sink = connection.clientStream(Images.upload, (e, r) =>
      e ? reject(translate(e)) : resolve(Number(r?.receivedBytes)),
    );
  });
  if (sink) void feed(sink, begin, data, answer);
  return answer;
}

async function feed(
  sink: ClientWritableStream<UploadRequest>,
  begin: UploadBegin,
  data: Readable,
  answer: Promise<number>,
): Promise<void> {
  const answered = new AbortController();
  answer.then(
    () => answered.abort(),
    () => answered.abort(),
  );
  async function* messages(): AsyncIterable<UploadRequest> {
    yield { message: { $case: 'begin', value: begin } };
    for await (const piece of data as AsyncIterable<Piece>)
      yield {
        message:
          typeof piece === 'number'
            ? { $case: 'zeros', value: BigInt(piece) }
            : { $case: 'data', value: Buffer.from(piece.buffer, piece.byteOffset, piece.length) },
      };
  }
  try {
    await pipeline(messages, sink as unknown as Writable, { signal: answered.signal });
  } catch {
    sink.cancel(); // the sender broke off, or the agent answered early: it drops what came
  }
}

export const readLog = (
  connection: Connection,
  request: { readonly vmId: string; readonly tailBytes: bigint; readonly follow: boolean },
  signal: AbortSignal,
  translate: Translate,
): AsyncIterable<Uint8Array> => dataOf(connection.serverStream(Domains.readSerialLog, request), signal, translate);

export const readScreenshot = (
  connection: Connection,
  domain: { readonly uuid: string; readonly vmId: string },
  signal: AbortSignal,
  translate: Translate,
): AsyncIterable<Uint8Array> => dataOf(connection.serverStream(Power.takeScreenshot, domain), signal, translate);

async function* dataOf(
  stream: ClientReadableStream<{ readonly data: Uint8Array }>,
  signal: AbortSignal,
  translate: Translate,
): AsyncIterable<Uint8Array> {
  const stop = () => stream.cancel();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    for await (const message of stream) yield (message as { data: Uint8Array }).data;
  } catch (e) {
    if (!signal.aborted) throw translate(e);
  } finally {
    signal.removeEventListener('abort', stop);
    stream.cancel();
  }
}

export function openConsole(
  connection: Connection,
  domain: { readonly uuid: string; readonly vmId: string; readonly force: boolean },
  translate: Translate,
): Duplex {
  const call = connection.bidi(Domains.openConsole);
  const console = new Duplex({
    read: () => call.resume(),
    write: (chunk: Buffer, _, done) => writeTo(call, { message: { $case: 'data', value: chunk } }, done),
    final: (done) => {
      call.end();
      done();
    },
    destroy: (error, done) => {
      call.cancel();
      done(error);
    },
  });
  call.on('data', (m: { data: Uint8Array }) => {
    if (!console.push(m.data)) call.pause();
  });
  call.on('end', () => console.push(null));
  call.on('error', (e: ServiceError) => {
    if (!console.destroyed) console.destroy(e.code === Status.CANCELLED ? undefined : translate(e));
  });
  call.write({ message: { $case: 'open', value: domain } } satisfies ConsoleInput);
  return console;
}

interface Sink<T> {
  write(v: T): boolean;
  once(event: 'drain', f: () => void): unknown;
}

/** Calls back when the transport has room for more. */
function writeTo<T>(sink: Sink<T>, v: T, done: () => void): void {
  if (sink.write(v)) done();
  else sink.once('drain', done);
}
