/**
 * The one wrapper of all handlers: who calls, may they, run, wait until what was read is durable, answer or translate the
 * error, log once. Handlers are plain functions and async generators; they throw.
 */
import type {
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  sendUnaryData,
  StatusObject,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { toStatus } from '@berth/shared/errors/wire.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Caller, Tokens } from '../app/tokens.ts';
import type { State } from '../state/state.ts';
import { accessOf, mayCall } from './authorisation.ts';

export interface WrapDeps {
  readonly state: Pick<State, 'settled'>;
  readonly tokens: Pick<Tokens, 'authenticate'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborts when the server stops: streams end then. */
  readonly stopping: AbortSignal;
}

export interface Call {
  /** Empty for methods that anyone may call. */
  readonly user: string;
  readonly role: string;
  /** Aborted when the caller hangs up, its deadline passes, or the server stops. */
  readonly signal: AbortSignal;
}

interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the shape that ts-proto gives; narrowed by Req below
  readonly requestDeserialize: (b: Buffer) => any;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  readonly responseDeserialize: (b: Buffer) => any;
}
type Req<M extends Method> = ReturnType<M['requestDeserialize']>;
type Res<M extends Method> = ReturnType<M['responseDeserialize']>;

type Handler<M extends Method> = (
  request: M['requestStream'] extends true ? AsyncIterable<Req<M>> : Req<M>,
  call: Call,
) => M['responseStream'] extends true ? AsyncIterable<Res<M>> : Promise<Res<M>> | Res<M>;

/** Plain handlers of a service, as the files beside this one write them. */
export type Handlers<D extends Record<string, Method>> = { readonly [K in keyof D]: Handler<D[K]> };

interface AnyCall {
  readonly metadata: Metadata;
  readonly cancelled: boolean;
  on(event: 'cancelled', f: () => void): unknown;
}

export function wrapService<D extends Record<string, Method>>(
  definition: D,
  handlers: Handlers<D>,
  deps: WrapDeps,
): UntypedServiceImplementation {
  const wrapped = Object.entries(definition).map(([name, method]) => {
    const handler = handlers[name] as Handler<Method>;
    return [name, method.responseStream ? streaming(method, handler, deps) : single(method, handler, deps)];
  });
  return Object.fromEntries(wrapped) as UntypedServiceImplementation;
}

function single(method: Method, handler: Handler<Method>, deps: WrapDeps): UntypedHandleCall {
  const handle = (call: AnyCall & { request?: unknown }, done: sendUnaryData<unknown>): void => {
    const run = new Run(method.path, call, deps);
    const input = method.requestStream ? call : call.request;
    run
      .go(async (about) => {
        const answer: unknown = await handler(input as never, about);
        await deps.state.settled();
        return answer;
      })
      .then(
        (answer) => done(null, answer),
        (status: Partial<StatusObject>) => done(status),
      );
  };
  return handle as handleUnaryCall<unknown, unknown> | handleClientStreamingCall<unknown, unknown>;
}

interface Sink {
  write(v: unknown): boolean;
  end(): void;
  once(event: 'drain', f: () => void): unknown;
  emit(event: 'error', e: unknown): unknown;
}

function streaming(method: Method, handler: Handler<Method>, deps: WrapDeps): UntypedHandleCall {
  const handle = (call: AnyCall & Sink & { request?: unknown }): void => {
    const run = new Run(method.path, call, deps);
    const input = method.requestStream ? call : call.request;
    run
      .go(async (about) => {
        for await (const answer of handler(input as never, about) as AsyncIterable<unknown>) {
          await deps.state.settled();
          if (about.signal.aborted) break;
          if (!call.write(answer)) await room(call, about.signal);
        }
        if (deps.stopping.aborted) throw new ClusterError('CONTROLLER_UNREACHABLE', 'the controller is stopping');
      })
      .then(
        () => call.end(),
        (status: Partial<StatusObject>) => call.emit('error', status),
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

/** Who calls, if they may; undefined for methods that anyone may call. */
export function admit(path: string, metadata: Metadata, deps: Pick<WrapDeps, 'tokens'>): Caller | undefined {
  const needed = accessOf(path);
  if (needed === 'anyone') return undefined;
  const header = metadata.get('authorization')[0];
  const caller = deps.tokens.authenticate(header === undefined ? undefined : String(header));
  if (needed !== undefined && mayCall(caller.role, needed)) return caller;
  throw new ClusterError(
    'PERMISSION_DENIED',
    `${caller.user} is ${caller.role} and may not do this: it takes the role ${needed ?? 'of nobody'}`,
  );
}

/** A stream that ends before its time is the caller's doing, and no fault of ours. */
const isHangUp = (e: unknown, hangup: AbortSignal): boolean =>
  !isClusterError(e) && (hangup.aborted || (e as { code?: unknown } | null)?.code === 'ERR_STREAM_PREMATURE_CLOSE');

/** One call, from its headers to its log line. */
class Run {
  private readonly startedAt: number;

  constructor(
    private readonly path: string,
    private readonly call: AnyCall,
    private readonly deps: WrapDeps,
  ) {
    this.startedAt = deps.clock.monotonic();
  }

  /** Rejects with a gRPC status. */
  async go<T>(work: (about: Call) => Promise<T>): Promise<T> {
    const hangup = new AbortController();
    const stop = () => hangup.abort();
    this.call.on('cancelled', stop);
    this.deps.stopping.addEventListener('abort', stop, { once: true });
    if (this.call.cancelled || this.deps.stopping.aborted) stop();
    let user = '';
    try {
      const caller = admit(this.path, this.call.metadata, this.deps);
      user = caller?.user ?? '';
      const result = await work({ user, role: caller?.role ?? '', signal: hangup.signal });
      this.note(user, undefined);
      return result;
    } catch (e) {
      throw this.failed(user, isHangUp(e, hangup.signal) ? new ClusterError('CANCELLED', 'the caller hung up') : e);
    } finally {
      this.deps.stopping.removeEventListener('abort', stop);
      stop();
    }
  }

  private failed(user: string, e: unknown): Partial<StatusObject> {
    let traced = false;
    const status = toStatus(e, (traceId, cause) => {
      traced = true;
      this.deps.log.error({ method: this.path, user, traceId, err: cause }, 'a call failed unexpectedly');
    });
    if (!traced) this.note(user, String(status.details));
    return status;
  }

  private note(user: string, error: string | undefined): void {
    const ms = Math.round(this.deps.clock.monotonic() - this.startedAt);
    this.deps.log.debug({ method: this.path, user, ms, ...(error === undefined ? {} : { error }) }, 'call');
  }
}
