/**
 * The one wrapper of all handlers towards gRPC: run (call.ts), wait until what was read is durable, answer, with
 * back-pressure, or translate the error. Handlers are plain functions and async generators; they throw.
 */
import type { Readable } from 'node:stream';
import {
  Metadata,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type sendUnaryData,
  type UntypedHandleCall,
  type ServerUnaryCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { toStatus } from '@berth/shared/errors/wire.ts';
import { TRACEPARENT } from '@berth/shared/trace/context.ts';
import { serialOf } from '@berth/shared/trust/certificate.ts';
import type { Shown } from '../app/authentication.ts';
import { runCall, type Call, type CallDeps, type Handler, type Handlers, type Method } from './call.ts';

interface AnyCall {
  readonly metadata: Metadata;
  readonly cancelled: boolean;
  getPeer(): string;
  getAuthContext(): ReturnType<ServerUnaryCall<unknown, unknown>['getAuthContext']>;
  /** Of a call with one request. */
  readonly request?: unknown;
  on(event: 'cancelled', f: () => void): unknown;
}

export function wrapService<D extends Record<string, Method>>(
  definition: D,
  handlers: Handlers<D>,
  deps: CallDeps,
): UntypedServiceImplementation {
  const wrapped = Object.entries(definition).map(([name, method]) => {
    const handler = handlers[name] as Handler<Method>;
    return [name, method.responseStream ? streaming(method, handler, deps) : single(method, handler, deps)];
  });
  return Object.fromEntries(wrapped) as UntypedServiceImplementation;
}

function single(method: Method, handler: Handler<Method>, deps: CallDeps): UntypedHandleCall {
  const handle = (call: AnyCall & { request?: unknown }, done: sendUnaryData<unknown>): void => {
    const input = method.requestStream ? call : call.request;
    run({ method, call, shown: shownBy(call) }, deps, async (about) => {
      const answer: unknown = await handler(input as never, about);
      await deps.state.settled();
      return answer;
    }).then(
      (answer) => done(null, answer, trailer(deps)),
      (e) => done(statusOf(e)),
    );
  };
  return handle as handleUnaryCall<unknown, unknown> | handleClientStreamingCall<unknown, unknown>;
}

/** With each answer: which CAs callers should know, so that those who pinned one learn of the next in time. */
function trailer({ ca }: CallDeps): Metadata {
  const metadata = new Metadata();
  if (ca) metadata.set('berth-ca', ca());
  return metadata;
}

interface Sink {
  write(v: unknown): boolean;
  end(): void;
  once(event: 'drain', f: () => void): unknown;
  emit(event: 'error', e: unknown): unknown;
}

/** A caller that has said all it has to say still gets its answer: by default the end of the loop destroys the stream. */
const messagesOf = (call: object): AsyncIterable<unknown> => ({
  [Symbol.asyncIterator]: () => (call as Readable).iterator({ destroyOnReturn: false }),
});

function streaming(method: Method, handler: Handler<Method>, deps: CallDeps): UntypedHandleCall {
  const handle = (call: AnyCall & Sink & { request?: unknown }): void => {
    const input = method.requestStream ? messagesOf(call) : call.request;
    run({ method, call, shown: shownBy(call) }, deps, async (about) => {
      for await (const answer of handler(input as never, about) as AsyncIterable<unknown>) {
        await deps.state.settled();
        if (about.signal.aborted) break;
        if (!call.write(answer)) await room(call, about.signal);
      }
      if (deps.stopping.aborted) throw new ClusterError('CONTROLLER_UNREACHABLE', 'the controller is stopping');
    }).then(
      () => call.end(),
      (e) => call.emit('error', statusOf(e)),
    );
  };
  return handle as handleServerStreamingCall<unknown, unknown> | handleBidiStreamingCall<unknown, unknown>;
}

/** Back-pressure: resolves when the caller has read on, or has gone. */
function room(sink: Sink, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      signal.removeEventListener('abort', go);
      resolve();
    };
    sink.once('drain', go);
    signal.addEventListener('abort', go, { once: true });
    if (signal.aborted) go();
  });
}

/** What runCall throws was reported there. */
const statusOf = (e: unknown) => toStatus(e, () => undefined);

/** The certificate is looked at only when there is no token: parsing one is not free. */
export function shownBy(call: Pick<AnyCall, 'metadata' | 'getAuthContext'>): Shown {
  const header = call.metadata.get('authorization')[0];
  if (header !== undefined) return { authorization: String(header) };
  const peer = call.getAuthContext().sslPeerCertificate;
  if (peer === undefined) return { authorization: undefined };
  const fingerprint = peer.fingerprint256.replaceAll(':', '').toLowerCase();
  return { authorization: undefined, certificate: { serial: serialOf(peer.serialNumber), fingerprint } };
}

interface Asked {
  readonly method: Method;
  readonly call: AnyCall;
  readonly shown: Shown;
}

function run<T>({ method, call, shown }: Asked, deps: CallDeps, work: (about: Call) => Promise<T>): Promise<T> {
  const hangup = new AbortController();
  call.on('cancelled', () => hangup.abort());
  if (call.cancelled) hangup.abort();
  const long = method.requestStream || method.responseStream;
  const incoming = {
    peer: addressOf(call.getPeer()),
    request: call.request,
    path: method.path,
    shown,
    hangup: hangup.signal,
    long,
    traceparent: call.metadata.get(TRACEPARENT)[0]?.toString(),
  };
  return runCall(incoming, deps, work);
}

/** `127.0.0.1:5432`, `[::1]:5432` → the address alone. */
const addressOf = (peer: string): string => peer.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
