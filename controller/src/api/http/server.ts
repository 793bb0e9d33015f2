/** The HTTPS server of the JSON API: TLS 1.3, HTTP/1.1, limits against callers that are slow, silent or too many. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { tlsOptions, type ServerIdentity } from '../credentials.ts';
import type { Gateway, HttpLimits } from './gateway.ts';

export const HTTP_LIMITS: HttpLimits = {
  body: { bytes: 4 << 20, wholeMs: 30_000, idleMs: 60_000 },
  stream: { heartbeatMs: 15_000, slowMs: 30_000 },
};

/** From the first byte of a connection, or of the next request, to the end of its headers. */
const HEADERS_MS = 10_000;
const HANDSHAKE_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;
const LOOK_EVERY_MS = 2_000;
const MOST_CONNECTIONS = 10_000;
const GRACE_MS = 2_000;

export interface HttpServerOptions {
  readonly gateway: Pick<Gateway, 'handle'>;
  readonly identity: ServerIdentity;
  readonly clock: Clock;
  readonly log: Log;
}

export class HttpServer {
  private readonly server: Server;

  constructor(private readonly o: HttpServerOptions) {
    this.server = createServer({
      ...tlsOptions(o.identity),
      ALPNProtocols: ['http/1.1'],
      handshakeTimeout: HANDSHAKE_MS,
      headersTimeout: HEADERS_MS,
      requestTimeout: 0, // bodies have limits of their own: an upload may take hours
      connectionsCheckingInterval: LOOK_EVERY_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      noDelay: true,
    });
    this.server.maxConnections = MOST_CONNECTIONS;
    this.server.on('request', this.#serve(false)).on('checkContinue', this.#serve(true));
    this.server.on('clientError', refuse);
  }

  /** @returns the port; that of `listen`, unless it is 0. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', (e) =>
        reject(badState(`cannot listen on ${host}:${port} for HTTPS (${e.message}): is another controller running?`)),
      );
      this.server.listen(port, host, () => {
        this.server.on('error', (err) => this.o.log.error({ err }, 'https server'));
        resolve((this.server.address() as AddressInfo).port);
      });
    });
  }

  /** How many are open. */
  connections(): Promise<number> {
    return new Promise((resolve, reject) => this.server.getConnections((e, n) => (e ? reject(e) : resolve(n))));
  }

  /** Connections from now on see the new certificate; those that are open go on. */
  renew(identity: ServerIdentity): void {
    this.server.setSecureContext(tlsOptions(identity));
  }

  /** Streams have been ended by the caller of this; calls in flight finish for a moment, then are cut. */
  async stop(): Promise<void> {
    const cut = this.o.clock.after(GRACE_MS, () => this.server.closeAllConnections());
    await new Promise<void>((resolve) => {
      this.server.close(() => resolve());
      this.server.closeIdleConnections();
    });
    cut.cancel();
  }

  #serve(expectsContinue: boolean) {
    return (req: IncomingMessage, res: ServerResponse): void => {
      req.on('error', () => undefined);
      res.on('error', () => undefined);
      void this.o.gateway.handle(req, res, expectsContinue);
    };
  }
}

/** What is no HTTP, or too slow or too long to be one, gets one line and no more. */
function refuse(e: NodeJS.ErrnoException, socket: Socket): void {
  // before the end of the handshake nothing can be said, and nothing written would ever be flushed
  if (!socket.writable || !/^(HPE_|ERR_HTTP_)/.test(e.code ?? '')) return void socket.destroy();
  const [status, why] = REFUSALS[e.code ?? ''] ?? ['400 Bad Request', 'this is not HTTP/1.1'];
  const body = `${why}\n`;
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

const REFUSALS: Readonly<Record<string, readonly [string, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'the headers did not come in time'],
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'the headers are too long'],
};
