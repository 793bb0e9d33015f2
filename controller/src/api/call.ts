/**
 * One call of the public API, whatever brought it: who calls, may they, run, translate what was thrown, log once. Knows
 * neither gRPC nor HTTP; wrap.ts and http/ do.
 */
import { chain, ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { known } from '@berth/shared/errors/wire.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { Audit } from '../app/audit.ts';
import type { Authentication, Caller, CallerCertificate, Shown } from '../app/authentication.ts';
import type { LastUse } from '../app/last-use.ts';
import type { Limits } from '../app/limits.ts';
import { actAs, type Actor } from '../state/actor.ts';
import type { State } from '../state/state.ts';
import { parseTraceparent } from '@berth/shared/trace/context.ts';
import { isTracing, traced } from '@berth/shared/trace/trace.ts';
import { aboutOf, isRead, noteFailed, shortMethod, type About } from './attempts.ts';
import { Access, rank } from '../app/access.ts';
import { mayCall, ruleOf } from './authorisation.ts';

export interface CallDeps {
  readonly state: Pick<State, 'settled'>;
  readonly authentication: Pick<Authentication, 'authenticate' | 'still'>;
  /** Gets what was refused or failed; absent in tests that don't look. */
  readonly audit?: Pick<Audit, 'attempt'>;
  /** Absent: no limits, and nothing noted. */
  readonly limits?: Pick<Limits, 'request' | 'stream'>;
  readonly lastUse?: Pick<LastUse, 'note'>;
  /** Told of each call that begins. @returns what is called when it has ended. */
  readonly begun?: (path: string, long: boolean) => (e?: unknown) => void;
  readonly clock: Clock;
  readonly log: Log;
  /** A short digest of the CAs that callers should know. */
  readonly ca?: () => string;
  /** Aborts when the server stops: streams end then. */
  readonly stopping: AbortSignal;
}

/** What the transport knows of a call before anything is checked. */
export interface Incoming {
  /** As in the authorisation table: /berth.v1.VmService/GetVm. */
  readonly path: string;
  readonly shown: Shown;
  /** Address that the call came from, without its port. */
  readonly peer?: string;
  /** What the transport knows of the request by now. */
  readonly request?: unknown;
  /** Aborts when the caller hangs up or its deadline passes. */
  readonly hangup: AbortSignal;
  /** Goes on for long: it ends when the caller may not do it any more. */
  readonly long?: boolean;
  /** W3C Trace Context, where the caller has one. */
  readonly traceparent?: string | undefined;
  /** Under which the log has it, when the transport has given it one. */
  readonly traceId?: string;
}

/** What handlers know of the call. */
export interface Call {
  /** Empty for methods that anyone may call. */
  readonly user: string;
  /** The highest that the caller has anywhere. */
  readonly role: string;
  readonly tokenId: string;
  /** The client certificate that it showed; undefined: it showed a token. */
  readonly certificate: CallerCertificate | undefined;
  /** Address that the call came from. */
  readonly peer: string;
  readonly access: Access;
  /** Said by services.ts once the request is known: which object it is about. */
  noteAbout(about: About | undefined): void;
  /** Asked again from time to time while the call goes on; what it throws ends the call. `access` is always today's. */
  keepAsking(check: () => Promise<void>): void;
  /** Aborted when the caller hangs up, its deadline passes, its token ends, or the server stops; the reason is then a ClusterError, or nobody listens any more. */
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

/** Who calls; undefined for methods that anyone may call. */
const identify = (path: string, shown: Shown, deps: Pick<CallDeps, 'authentication'>): Caller | undefined =>
  ruleOf(path)?.needs === 'anyone' ? undefined : deps.authentication.authenticate(shown);

/** Throws unless the caller may call the method at all. */
function permit(path: string, caller: Caller | undefined): void {
  const rule = ruleOf(path);
  if (rule?.needs === 'anyone' || (caller && rule && mayCall(caller.access, rule))) return;
  const where = rule?.on === 'installation' && rank(caller?.role ?? 'none') >= 0 ? ' for the whole installation' : '';
  throw new ClusterError(
    'PERMISSION_DENIED',
    `${caller?.user} is ${words(caller?.role ?? '')} and may not do this: it takes the role ${rule?.needs ?? 'of nobody'}${where}`,
  );
}

/** Counts the call against the caller's share. @returns what gives back the place that a long call holds. */
function take(caller: Caller, incoming: Incoming, { limits, lastUse }: CallDeps): () => void {
  limits?.request(caller.user);
  lastUse?.note(caller.tokenId, incoming.peer ?? '');
  return (incoming.long && limits?.stream(caller.user)) || (() => undefined);
}

const words = (role: string): string => (role === 'none' ? 'without a role' : role);
const NOBODY = new Access([]);

/** A stream that ends before its time is the caller's doing, and no fault of ours. */
const isHangUp = (e: unknown, hangup: AbortSignal): boolean =>
  !isClusterError(e) && (hangup.aborted || (e as { code?: unknown } | null)?.code === 'ERR_STREAM_PREMATURE_CLOSE');

/** What ended the call, when it was not what the handler threw. */
function causeOf(e: unknown, over: AbortSignal): unknown {
  if (isLapse(over.reason)) return over.reason;
  return isHangUp(e, over) ? new ClusterError('CANCELLED', 'the caller hung up') : e;
}

const begin = ({ path, long }: Incoming, { begun }: CallDeps): ((e?: unknown) => void) =>
  begun?.(path, long === true) ?? (() => undefined);

/**
 * One call, from its headers to its log line.
 * @param work gets who calls; what it throws comes back as a ClusterError, and is logged here.
 */
export function runCall<T>(incoming: Incoming, deps: CallDeps, work: (about: Call) => Promise<T>): Promise<T> {
  if (!isTracing()) return answered(incoming, deps, work);
  const span = {
    name: shortMethod(incoming.path),
    kind: 'server',
    parent: parseTraceparent(incoming.traceparent),
    begins: !isRead(incoming.path), // those who look on come every few seconds
  } as const;
  return traced(span, () => answered(incoming, deps, work));
}

async function answered<T>(incoming: Incoming, deps: CallDeps, work: (about: Call) => Promise<T>): Promise<T> {
  const startedAt = deps.clock.monotonic();
  const over = new AbortController();
  const ends = [incoming.hangup, deps.stopping].map((s) => forward(s, over));
  let caller: Caller | undefined;
  let about = aboutOf(incoming.path, incoming.request);
  const actor: Actor = {
    ...{ user: '', tokenId: '', peer: incoming.peer ?? '', method: shortMethod(incoming.path), over: false },
  };
  const ended = begin(incoming, deps);
  const note = (error?: string) => {
    const ms = Math.round(deps.clock.monotonic() - startedAt);
    deps.log.debug(
      {
        method: incoming.path,
        user: caller?.user ?? '',
        ms,
        traceId: incoming.traceId,
        ...(error === undefined ? {} : { error }),
      },
      'call',
    );
  };
  try {
    caller = identify(incoming.path, incoming.shown, deps);
    if (caller) ends.push(take(caller, incoming, deps));
    permit(incoming.path, caller);
    const { user = '', tokenId = '', certificate } = caller ?? {};
    Object.assign(actor, { user, tokenId });
    let ask = async (): Promise<void> => undefined;
    const call: Call = {
      ...{ user, tokenId, certificate, role: caller?.role ?? '', signal: over.signal, peer: actor.peer },
      get access() {
        return caller?.access ?? NOBODY;
      },
      noteAbout: (a) => (about = a),
      keepAsking: (check) => (ask = check),
    };
    const again = async (): Promise<void> => {
      caller &&= deps.authentication.still(caller);
      permit(incoming.path, caller);
      await ask();
    };
    if (incoming.long) ends.push(whileAdmitted(again, deps, over));
    const result = await actAs(actor, () => work(call));
    if (isLapse(over.signal.reason)) throw over.signal.reason;
    note();
    ended();
    return result;
  } catch (e) {
    const seen = causeOf(e, over.signal);
    const report = (traceId: string, cause: unknown) =>
      deps.log.error({ method: incoming.path, user: actor.user, traceId, err: cause }, 'a call failed unexpectedly');
    const error = known(seen, report, incoming.traceId);
    if (error === seen) note(chain(error));
    ended(error);
    const { path, shown, peer = '' } = incoming;
    noteFailed(deps.audit, { path, shown, peer, caller, about }, error);
    throw error;
  } finally {
    actor.over = true;
    for (const end of ends) end();
    over.abort();
  }
}

/** @returns what ends the forwarding. */
function forward(from: AbortSignal, to: AbortController): () => void {
  const stop = () => to.abort(from.reason);
  from.addEventListener('abort', stop, { once: true });
  if (from.aborted) stop();
  return () => from.removeEventListener('abort', stop);
}

/** How long a stream may outlive the right to it. */
const RECHECK_MS = 3_000;

/** Aborts when the caller's token has ended, or may not do this any more. @returns what ends the looking. */
function whileAdmitted(ask: () => Promise<void>, deps: CallDeps, over: AbortController): () => void {
  let timer: Timer;
  const later = () => (timer = deps.clock.after(RECHECK_MS, look));
  const look = (): void => {
    ask().then(
      () => (over.signal.aborted ? undefined : later()),
      (e: unknown) => over.abort(e),
    );
  };
  later();
  return () => timer.cancel();
}

const isLapse = (reason: unknown): boolean =>
  isClusterError(reason, 'UNAUTHENTICATED', 'PERMISSION_DENIED', 'NOT_FOUND');
