/**
 * One connection to one agent: one HTTP/2 session over mutual TLS, used for every call, thrown away when it fails. Never
 * reconnects by itself: host-link.ts makes a new one, so that reachability is always proven over a new connection.
 */
import type { Duplex, Readable } from 'node:stream';
import {
  Client,
  Metadata,
  type ChannelOptions,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientWritableStream,
  type ServiceError,
} from '@grpc/grpc-js';
import type { SecureContext } from 'node:tls';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { TRACEPARENT } from '@berth/shared/trace/context.ts';
import { currentTraceparent, isTracing, traced } from '@berth/shared/trace/trace.ts';
import { AgentCredentials } from './credentials.ts';
import { LIMITS } from './limits.ts';

export interface Method<Req, Res> {
  readonly path: string;
  readonly requestSerialize: (v: Req) => Buffer;
  readonly responseDeserialize: (b: Buffer) => Res;
}

interface Cancellable {
  cancel(): void;
}

const OPTIONS: ChannelOptions = {
  'grpc.ssl_target_name_override': 'berth-agent',
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_channelz': 0,
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.max_receive_message_length': LIMITS.messageBytes,
  'grpc.max_send_message_length': 4 << 20,
  'grpc.client_idle_timeout_ms': 2_147_483_647,
};

/** Told of each call with one answer. @returns what is called when it has ended. */
export type CallBegun = (path: string) => (e?: unknown) => void;

export class Connection {
  private readonly client: Client;
  private readonly credentials: AgentCredentials;
  private readonly calls = new Set<Cancellable>();
  private closed = false;
  /** Serial of the certificate that the peer showed, once it was found to be that of the host that we meant. */
  peerSerial: string | undefined;

  constructor(
    address: string,
    hostId: string,
    context: SecureContext,
    isRevoked: (serial: string) => boolean,
    private readonly clock: Clock,
    private readonly begun: CallBegun = () => () => undefined,
  ) {
    const verified = (serial: string): void => void (this.peerSerial = serial);
    this.credentials = new AgentCredentials(context, hostId, { isRevoked, verified });
    this.client = new Client(address, this.credentials, OPTIONS);
  }

  unary<Req, Res>(m: Method<Req, Res>, request: Req, timeoutMs: number): Promise<Res> {
    if (!isTracing()) return this.ask(m, request, timeoutMs);
    const span = { name: `agent ${m.path.replace(/^.*\./, '')}`, kind: 'client' } as const;
    return traced(span, () => this.ask(m, request, timeoutMs));
  }

  private ask<Req, Res>(m: Method<Req, Res>, request: Req, timeoutMs: number): Promise<Res> {
    return new Promise((resolve, reject) => {
      if (this.closed) return reject(gone());
      const deadline = this.clock.now() + timeoutMs;
      const ended = this.begun(m.path);
      const call = this.client.makeUnaryRequest(
        m.path,
        m.requestSerialize,
        m.responseDeserialize,
        request,
        traceMetadata(),
        { deadline },
        (error, response) => {
          this.calls.delete(call);
          ended(error ?? undefined);
          if (error) reject(error);
          else resolve(response as Res);
        },
      );
      this.calls.add(call);
    });
  }

  /** @param timeoutMs without, it may go on for ever. */
  serverStream<Req, Res>(m: Method<Req, Res>, request: Req, timeoutMs?: number): ClientReadableStream<Res> {
    if (this.closed) throw gone();
    const options = timeoutMs === undefined ? {} : { deadline: this.clock.now() + timeoutMs };
    return this.track(
      this.client.makeServerStreamRequest(m.path, m.requestSerialize, m.responseDeserialize, request, options),
    );
  }

  clientStream<Req, Res>(
    m: Method<Req, Res>,
    done: (error: ServiceError | null, response?: Res) => void,
  ): ClientWritableStream<Req> {
    if (this.closed) throw gone();
    const call = this.client.makeClientStreamRequest(m.path, m.requestSerialize, m.responseDeserialize, (e, r) => {
      this.calls.delete(call);
      done(e, r);
    });
    this.calls.add(call);
    return call;
  }

  bidi<Req, Res>(m: Method<Req, Res>): ClientDuplexStream<Req, Res> {
    if (this.closed) throw gone();
    return this.track(this.client.makeBidiStreamRequest(m.path, m.requestSerialize, m.responseDeserialize));
  }

  /** Ends what is in flight (its callers get a transport error) and lets go of the session. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const call of this.calls) call.cancel();
    this.calls.clear();
    this.client.close();
    // what was cancelled goes out first, so that a healthy peer learns of it
    setImmediate(() => this.credentials.end());
  }

  private track<T extends Cancellable & (Readable | Duplex)>(call: T): T {
    this.calls.add(call);
    call.once('close', () => this.calls.delete(call));
    call.once('status' as 'close', () => this.calls.delete(call));
    return call;
  }
}

function traceMetadata(): Metadata {
  const metadata = new Metadata();
  const traceparent = currentTraceparent();
  if (traceparent !== undefined) metadata.set(TRACEPARENT, traceparent);
  return metadata;
}

/** What a call on a connection that has ended fails with; UNAVAILABLE. */
function gone(): ServiceError {
  const error = new Error('the connection has ended') as ServiceError;
  return Object.assign(error, { code: 14, details: 'the connection has ended', metadata: new Metadata() });
}
