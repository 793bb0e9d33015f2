/**
 * The one wrapper around every handler: fence, call, and the translation of errors, which are logged here, once. Decoding
 * and what to do is the handler's; who may call has been checked by caller.ts.
 */
import type {
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  ServerDuplexStream,
} from '@grpc/grpc-js';
import type { EventEmitter } from 'node:events';
import type { Fence, OperationContext } from '@berth/proto/agent/v1/operation.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { toStatus } from '@berth/shared/errors/wire.ts';
import type { Log } from '@berth/shared/log/log.ts';
import { parseTraceparent, TRACEPARENT } from '@berth/shared/trace/context.ts';
import { isTracing, traced } from '@berth/shared/trace/trace.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Told } from '../metrics/meters.ts';
import type { FenceKeeper } from '../operations/fence.ts';
import { readFence } from './decode.ts';

export interface Guard {
  /** A call that changes nothing and needs no fence. */
  read<Q, A>(name: string, handler: (request: Q) => Promise<A>): handleUnaryCall<Q, A>;
  /** A call that changes something: refused before anything is done unless its fence is good. */
  change<Q, A>(
    name: string,
    fenceOf: (request: Q) => Fence | undefined,
    handler: (request: Q) => Promise<A>,
  ): handleUnaryCall<Q, A>;
  /** A call that is an operation: its fence travels in its context. */
  operation<Q extends { readonly context: OperationContext | undefined }, A>(
    name: string,
    handler: (request: Q) => Promise<A>,
  ): handleUnaryCall<Q, A>;
  serverStream<Q, A>(
    name: string,
    handler: (request: Q, send: (answer: A) => Promise<void>, signal: AbortSignal) => Promise<void>,
  ): handleServerStreamingCall<Q, A>;
  clientStream<Q, A>(
    name: string,
    handler: (requests: AsyncIterable<Q>, signal: AbortSignal) => Promise<A>,
  ): handleClientStreamingCall<Q, A>;
  bidi<Q, A>(
    name: string,
    handler: (stream: ServerDuplexStream<Q, A>, signal: AbortSignal) => Promise<void>,
  ): handleBidiStreamingCall<Q, A>;
  fence: FenceKeeper;
}

const CANCELLED = (): ClusterError => new ClusterError('CANCELLED', 'the caller went away');

/** Who is told of each call. */
export interface Tally {
  readonly told: Told;
  readonly clock: Pick<Clock, 'monotonic'>;
}

/** @param stopping aborts every stream when the agent ends. */
export function createGuard(fence: FenceKeeper, log: Log, stopping: AbortSignal, tally?: Tally): Guard {
  const ended = (method: string, e?: unknown): void => tally?.told(method, undefined, e);
  const translate = (method: string, e: unknown) => {
    if (isClusterError(e)) log.debug({ method, reason: e.reason }, e.message);
    return toStatus(e, (traceId, err) => log.error({ method, traceId, err }, 'a call failed inside the agent'));
  };
  const unary = <Q, A>(name: string, handler: (request: Q) => Promise<A>): handleUnaryCall<Q, A> => {
    return (call, callback) => {
      const told = began(name, tally);
      asCaller(name, call.metadata, () => handler(call.request)).then(
        (answer) => (told(), callback(null, answer)),
        (e: unknown) => (told(e), callback(translate(name, e))),
      );
    };
  };
  const change: Guard['change'] = (name, fenceOf, handler) =>
    unary(name, async (request) => {
      await fence.check(readFence(fenceOf(request)));
      return handler(request);
    });
  return {
    fence,
    read: unary,
    change,
    operation: (name, handler) => change(name, (q) => q.context?.fence, handler),
    serverStream: (name, handler) => (call) => {
      const { signal, end } = lifeOf(call, stopping);
      handler(call.request, (answer) => write(call, answer, signal), signal)
        .then(
          () => {
            ended(name);
            if (stopping.aborted) call.emit('error', translate(name, stopping.reason));
            else call.end();
          },
          (e: unknown) => (ended(name, e), call.emit('error', translate(name, e))),
        )
        .finally(end);
    },
    clientStream: (name, handler) => (call, callback) => {
      // all that was sent may have been read long before the answer
      const { signal, end } = lifeOf(call, stopping, () => call.readableEnded);
      handler(call, signal)
        .then(
          (answer) => (ended(name), callback(null, answer)),
          (e: unknown) => {
            const seen = signal.aborted && !isClusterError(e) ? CANCELLED() : e;
            ended(name, seen);
            callback(translate(name, seen));
          },
        )
        .finally(end);
    },
    bidi: (name, handler) => (call) => {
      const { signal, end } = lifeOf(call, stopping);
      handler(call, signal)
        .then(
          () => (ended(name), call.end()),
          (e: unknown) => (ended(name, e), call.emit('error', translate(name, e))),
        )
        .finally(end);
    },
  };
}

/** As part of the trace that the caller says it is in, if it does. */
function asCaller<T>(name: string, metadata: Metadata, work: () => Promise<T>): Promise<T> {
  if (!isTracing()) return work();
  const parent = parseTraceparent(metadata.get(TRACEPARENT)[0]?.toString());
  return parent === undefined ? work() : traced({ name: `agent ${name}`, kind: 'server', parent }, work);
}

/** @returns what tells that the call has ended. */
function began(name: string, tally: Tally | undefined): (e?: unknown) => void {
  if (tally === undefined) return () => undefined;
  const atMs = tally.clock.monotonic();
  return (e) => tally.told(name, tally.clock.monotonic() - atMs, e);
}

interface Life {
  readonly signal: AbortSignal;
  end(): void;
}

/** Aborts when the caller goes away or the agent stops. @param isRead a stream that closes then is none that broke */
function lifeOf(call: EventEmitter, stopping: AbortSignal, isRead = () => false): Life {
  const life = new AbortController();
  const gone = (): void => life.abort(CANCELLED());
  const closed = (): void => void (isRead() || gone());
  const stop = (): void => life.abort(stopping.reason);
  call.once('cancelled', gone);
  call.once('close', closed);
  stopping.addEventListener('abort', stop, { once: true });
  if (stopping.aborted) stop();
  return {
    signal: life.signal,
    end: () => {
      stopping.removeEventListener('abort', stop);
      call.off('cancelled', gone).off('close', closed);
    },
  };
}

interface Writer<A> {
  write(answer: A): boolean;
  once(event: 'drain', listener: () => void): unknown;
  off(event: 'drain', listener: () => void): unknown;
}

/** Resolves when there is room for more, or with the signal. */
export function write<A>(call: Writer<A>, answer: A, signal: AbortSignal): Promise<void> {
  if (signal.aborted || call.write(answer)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      call.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.once('drain', done);
    signal.addEventListener('abort', done, { once: true });
  });
}
