/**
 * One call of the public API, whatever brought it: who calls, may they, run, translate what was thrown, log once. Knows
 * neither gRPC nor HTTP; wrap.ts and http/ do.
 */
import { chain, ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { known } from '@berth/shared/errors/wire.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Caller, Tokens } from '../app/tokens.ts';
import type { State } from '../state/state.ts';
import { accessOf, mayCall } from './authorisation.ts';

export interface CallDeps {
  readonly state: Pick<State, 'settled'>;
  readonly tokens: Pick<Tokens, 'authenticate'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborts when the server stops: streams end then. */
  readonly stopping: AbortSignal;
}

/** What the transport knows of a call before anything is checked. */
export interface Incoming {
  /** As in the authorisation table: /berth.v1.VmService/GetVm. */
  readonly path: string;
  /** Value of the `authorization` header. */
  readonly authorization: string | undefined;
  /** Aborts when the caller hangs up or its deadline passes. */
  readonly hangup: AbortSignal;
}

/** What handlers know of the call. */
export interface Call {
  /** Empty for methods that anyone may call. */
  readonly user: string;
  readonly role: string;
  /** Aborted when the caller hangs up, its deadline passes, or the server stops. */
  readonly signal: AbortSignal;
}

/** As ts-proto describes it. */
export interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the shape that ts-proto gives; narrowed by Req below
  readonly requestDeserialize: (b: Buffer) => any;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  readonly responseDeserialize: (b: Buffer) => any;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  readonly requestSerialize: (value: any) => Buffer;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  readonly responseSerialize: (value: any) => Buffer;
}
type Req<M extends Method> = ReturnType<M['requestDeserialize']>;
type Res<M extends Method> = ReturnType<M['responseDeserialize']>;

export type Handler<M extends Method> = (
  request: M['requestStream'] extends true ? AsyncIterable<Req<M>> : Req<M>,
  call: Call,
) => M['responseStream'] extends true ? AsyncIterable<Res<M>> : Promise<Res<M>> | Res<M>;

/** Plain handlers of a service, as the files beside this one write them. */
export type Handlers<D extends Record<string, Method>> = { readonly [K in keyof D]: Handler<D[K]> };

/** Who calls, if they may; undefined for methods that anyone may call. */
export function admit(
  path: string,
  authorization: string | undefined,
  deps: Pick<CallDeps, 'tokens'>,
): Caller | undefined {
  const needed = accessOf(path);
  if (needed === 'anyone') return undefined;
  const caller = deps.tokens.authenticate(authorization);
  if (needed !== undefined && mayCall(caller.role, needed)) return caller;
  throw new ClusterError(
    'PERMISSION_DENIED',
    `${caller.user} is ${caller.role} and may not do this: it takes the role ${needed ?? 'of nobody'}`,
  );
}

/** A stream that ends before its time is the caller's doing, and no fault of ours. */
const isHangUp = (e: unknown, hangup: AbortSignal): boolean =>
  !isClusterError(e) && (hangup.aborted || (e as { code?: unknown } | null)?.code === 'ERR_STREAM_PREMATURE_CLOSE');

/**
 * One call, from its headers to its log line.
 * @param work gets who calls; what it throws comes back as a ClusterError, and is logged here.
 */
export async function runCall<T>(incoming: Incoming, deps: CallDeps, work: (about: Call) => Promise<T>): Promise<T> {
  const startedAt = deps.clock.monotonic();
  const over = new AbortController();
  const stop = () => over.abort();
  for (const s of [incoming.hangup, deps.stopping]) {
    s.addEventListener('abort', stop, { once: true });
    if (s.aborted) stop();
  }
  let user = '';
  const note = (error?: string) => {
    const ms = Math.round(deps.clock.monotonic() - startedAt);
    deps.log.debug({ method: incoming.path, user, ms, ...(error === undefined ? {} : { error }) }, 'call');
  };
  try {
    const caller = admit(incoming.path, incoming.authorization, deps);
    user = caller?.user ?? '';
    const result = await work({ user, role: caller?.role ?? '', signal: over.signal });
    note();
    return result;
  } catch (e) {
    const seen = isHangUp(e, over.signal) ? new ClusterError('CANCELLED', 'the caller hung up') : e;
    const error = known(seen, (traceId, cause) =>
      deps.log.error({ method: incoming.path, user, traceId, err: cause }, 'a call failed unexpectedly'),
    );
    if (error === seen) note(chain(error));
    throw error;
  } finally {
    for (const s of [incoming.hangup, deps.stopping]) s.removeEventListener('abort', stop);
    stop();
  }
}
