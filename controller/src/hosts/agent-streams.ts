/** The calls to an agent that are streams of bytes: uploads, serial logs, consoles, displays. With back-pressure; decides nothing. */
import { Duplex, type Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientWritableStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { DisplayKind, DisplayServiceService as Displays } from '@berth/proto/agent/v1/display.ts';
import { ExportServiceService as Exports, type ReadExportRequest } from '@berth/proto/agent/v1/export.ts';
import { DomainServiceService as Domains } from '@berth/proto/agent/v1/domain.ts';
import { ImageServiceService as Images, type UploadBegin, type UploadRequest } from '@berth/proto/agent/v1/image.ts';
import { PowerServiceService as Power } from '@berth/proto/agent/v1/power.ts';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import type { ConsolePiece, ConsoleWanted, LogPiece, MessageDuplex } from './agent-client.ts';
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
  request: {
    readonly vmId: string;
    readonly tailBytes: bigint;
    readonly follow: boolean;
    readonly from: string | undefined;
  },
  signal: AbortSignal,
  translate: Translate,
): AsyncIterable<LogPiece> => messagesOf(connection.serverStream(Domains.readSerialLog, request), signal, translate);

export async function* readScreenshot(
  connection: Connection,
  domain: { readonly uuid: string; readonly vmId: string },
  signal: AbortSignal,
  translate: Translate,
): AsyncIterable<Uint8Array> {
  const stream = connection.serverStream(Power.takeScreenshot, domain);
  for await (const { data } of messagesOf(stream, signal, translate)) yield data;
}

export async function* readExport(
  connection: Connection,
  request: ReadExportRequest,
  signal: AbortSignal,
  translate: Translate,
): AsyncIterable<Piece> {
  for await (const { message } of messagesOf(connection.serverStream(Exports.readExport, request), signal, translate))
    if (message?.$case === 'data') yield message.value;
    else if (message?.$case === 'zeros' && message.value > 0n) yield Number(message.value);
}

async function* messagesOf<T>(
  stream: ClientReadableStream<T>,
  signal: AbortSignal,
  translate: Translate,
): AsyncIterable<T> {
  const stop = () => stream.cancel();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    for await (const message of stream) yield message as T;
  } catch (e) {
    if (!signal.aborted) throw translate(e);
  } finally {
    signal.removeEventListener('abort', stop);
    stream.cancel();
  }
}

export function openConsole(
  connection: Connection,
  domain: { readonly uuid: string; readonly vmId: string } & ConsoleWanted,
  translate: Translate,
): MessageDuplex<ConsolePiece> {
  const call = connection.bidi(Domains.openConsole);
  return duplex(call, { message: { $case: 'open', value: domain } }, dataMessage, translate);
}

export function openDisplay(
  connection: Connection,
  domain: { readonly uuid: string; readonly vmId: string; readonly kind: 'vnc' | 'spice' },
  translate: Translate,
): MessageDuplex<{ readonly data: Uint8Array }> {
  const kind = domain.kind === 'vnc' ? DisplayKind.VNC : DisplayKind.SPICE;
  const call = connection.bidi(Displays.openDisplay);
  return duplex(call, { message: { $case: 'open', value: { ...domain, kind } } }, dataMessage, translate);
}

const dataMessage = (value: Buffer) => ({ message: { $case: 'data' as const, value } });

/** Messages that wait on their way to a caller who reads slowly; each is at most a few dozen KiB. */
const MESSAGES_AHEAD = 4;

function duplex<Q, R>(
  call: ClientDuplexStream<Q, R>,
  first: Q,
  messageOf: (data: Buffer) => Q,
  translate: Translate,
): MessageDuplex<R> {
  const stream = new Duplex({
    readableObjectMode: true,
    readableHighWaterMark: MESSAGES_AHEAD,
    read: () => call.resume(),
    write: (chunk: Buffer, _, done) => writeTo(call, messageOf(chunk), done),
    final: (done) => {
      call.end();
      done();
    },
    destroy: (error, done) => {
      call.cancel();
      done(error);
    },
  });
  call.on('data', (m: R) => {
    if (!stream.push(m)) call.pause();
  });
  call.on('end', () => stream.push(null));
  // a call that we did not cancel was cut off with its connection
  call.on('error', (e: ServiceError) => {
    if (!stream.destroyed) stream.destroy(translate(e));
  });
  call.write(first);
  return stream as MessageDuplex<R>;
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
