/** An HTTPS border over handlers that a test gives, with a real TLS server and a client; for tests. */
import { request, type Agent } from 'node:https';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { connect, type TLSSocket } from 'node:tls';
import { vi } from 'vitest';
import { EventServiceService } from '@berth/proto/v1/event.ts';
import { ImageServiceService } from '@berth/proto/v1/image.ts';
import { VmServiceService } from '@berth/proto/v1/vm.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Authentication } from '../../app/authentication.ts';
import { bearerOf, Tokens } from '../../app/tokens.ts';
import { memoryState, newIdentity } from '../../hosts/testing.ts';
import type { State } from '../../state/state.ts';
import type { CallDeps, Handlers, Method } from '../call.ts';
import type { PublicService } from '../services.ts';
import { Gateway, type HttpLimits } from './gateway.ts';
import { Readiness } from './readiness.ts';
import { HTTP_LIMITS, HttpServer } from './server.ts';

export interface Stubs {
  readonly vms?: Partial<Handlers<typeof VmServiceService>>;
  readonly events?: Partial<Handlers<typeof EventServiceService>>;
  readonly images?: Partial<Handlers<typeof ImageServiceService>>;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Without a token when empty. */
  readonly token?: string;
}

/** Short, so that tests need not wait. */
const QUICK: HttpLimits = {
  body: { ...HTTP_LIMITS.body, wholeMs: 500, idleMs: 500 },
  stream: { heartbeatMs: 50, slowMs: 300 },
};

export class HttpBed {
  readonly stopping = new AbortController();
  private constructor(
    readonly state: State,
    readonly tokens: Tokens,
    readonly server: HttpServer,
    readonly port: number,
    readonly caPem: string,
    readonly token: string,
  ) {}

  static async start(stubs: Stubs, limits: HttpLimits = QUICK): Promise<HttpBed> {
    const state = await memoryState();
    const tokens = new Tokens(state);
    const authentication = new Authentication({ state, clock: systemClock });
    const identity = await newIdentity('installation-1');
    const stopping = new AbortController();
    const log = createLog('http', 'silent');
    const deps: CallDeps = { state, authentication, clock: systemClock, log, stopping: stopping.signal };
    const readiness = new Readiness(state, systemClock);
    const gateway = new Gateway({ services: servicesOf(stubs), deps, readiness, limits });
    const server = new HttpServer({ gateway, identity, clock: systemClock, log });
    const port = await server.listen('127.0.0.1', 0);
    const made = await tokens.create({ user: 'ann', role: 'admin', lifetimeMs: 0 }, 'test');
    await tokens.create({ user: 'root', role: 'admin', lifetimeMs: 0 }, 'test');
    const bed = new HttpBed(state, tokens, server, port, identity.caPem, bearerOf(made));
    bed.stopping.signal.addEventListener('abort', () => stopping.abort(bed.stopping.signal.reason));
    return bed;
  }

  #options(path: string, o: Ask) {
    const token = o.token ?? this.token;
    const headers = { ...(token === '' ? {} : { authorization: `Bearer ${token}` }), ...o.headers };
    return { host: '127.0.0.1', port: this.port, path, method: o.method ?? 'GET', headers, ca: this.caPem };
  }

  /** The answer as soon as its headers are there; its body is read by the test. */
  open(path: string, o: Ask = {}, agent?: Agent): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const req = request({ ...this.#options(path, o), ...(agent ? { agent } : {}) }, resolve);
      req.on('error', reject);
      req.end(o.body);
    });
  }

  async ask(path: string, o: Ask = {}): Promise<Reply> {
    const res = await this.open(path, o);
    const chunks: Buffer[] = [];
    for await (const chunk of res) chunks.push(chunk as Buffer);
    return { status: res.statusCode ?? 0, headers: res.headers, text: Buffer.concat(chunks).toString() };
  }

  post(path: string, body: unknown): Promise<Reply> {
    const headers = { 'content-type': 'application/json' };
    return this.ask(path, { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
  }

  /** A connection on which a test says what it likes. */
  raw(): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port: this.port, ca: this.caPem }, () => resolve(socket));
      socket.once('error', reject);
    });
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.server.stop();
    await this.state.close();
  }
}

function servicesOf(stubs: Stubs): PublicService[] {
  const service = (definition: Readonly<Record<string, Method>>, given: object | undefined): PublicService => ({
    definition,
    handlers: (given ?? {}) as Handlers<Record<string, Method>>,
  });
  return [
    service(VmServiceService, stubs.vms),
    service(EventServiceService, stubs.events),
    service(ImageServiceService, stubs.images),
  ];
}

/** Looks again until it holds. */
export const until = (check: () => unknown): Promise<unknown> => vi.waitFor(check, { timeout: 15_000, interval: 20 });
