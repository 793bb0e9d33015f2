/**
 * The agent's own address for metrics, where one is configured: plain HTTP for programs on this host (a loopback address), HTTPS
 * with a certificate (the host's own, or one of the operator's) and a bearer token everywhere else. One path, GET only, nothing
 * else of the agent. Most installations need none: the controller relays the same text.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { badState, chain } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import { CONTENT_TYPE } from '@berth/shared/metrics/exposition.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { isLoopback, splitHostPort, type MetricsConfig } from '../config.ts';
import type { HostIdentity } from '../enroll/host-identity.ts';

export interface MetricsListenerDeps {
  readonly config: MetricsConfig;
  readonly text: () => Promise<string>;
  /** Whose certificate serves where none is configured. */
  readonly identity: Pick<HostIdentity, 'pair' | 'subscribe'>;
  readonly clock: Clock;
  readonly log: Log;
}

const LOOK_EVERY_MS = 60_000;
const SLOW_MS = 10_000;
/** Several Prometheuses, and a person. */
const MOST_CONNECTIONS = 32;
/** Scrapes that are being answered; who comes then is asked to come again. */
const MOST_AT_ONCE = 4;

export class MetricsListener {
  private server: Server | TlsServer | undefined;
  private timer: Timer | undefined;
  private unfollow: (() => void) | undefined;
  private stamp = '';
  private busy = 0;

  constructor(private readonly d: MetricsListenerDeps) {}

  /** BAD_STATE: a file can't be read, or the address is taken. @returns the port. */
  async start(): Promise<number> {
    const { config } = this.d;
    const { host, port } = splitHostPort(config.listen);
    const server = isLoopback(host) ? createServer() : createTlsServer(this.context());
    this.server = server;
    server.maxConnections = MOST_CONNECTIONS;
    server.headersTimeout = SLOW_MS;
    server.requestTimeout = SLOW_MS;
    server.on('request', (req, res) => void this.serve(req, res));
    this.tokenHash(); // so that a file that is missing is told now
    await new Promise<void>((resolve, reject) => {
      server.once('error', (e) =>
        reject(badState(`the agent cannot listen on ${config.listen} for metrics: ${e.message}`)),
      );
      server.listen({ host, port }, resolve);
    });
    server.removeAllListeners('error');
    server.on('error', (e) => this.d.log.error({ err: e }, 'the address for metrics failed'));
    server.on('tlsClientError', (e) => this.d.log.debug({ err: e }, 'a TLS handshake for metrics failed'));
    if (!isLoopback(host)) this.follow();
    return (server.address() as AddressInfo).port;
  }

  stop(): void {
    this.timer?.cancel();
    this.unfollow?.();
    this.server?.close();
    this.server?.closeAllConnections();
  }

  private async serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    res.on('error', () => undefined);
    res.setTimeout(SLOW_MS, () => res.destroy());
    req.resume();
    const refusal = this.refusal(req);
    if (refusal !== undefined) return answer(res, refusal[0], `${refusal[1]}\n`);
    this.busy++;
    try {
      const text = await this.d.text();
      answer(res, 200, req.method === 'HEAD' ? '' : text, CONTENT_TYPE);
    } catch (e) {
      this.d.log.warn({ err: e }, 'metrics could not be read');
      answer(res, 500, 'metrics could not be read; the log of the agent says why\n');
    } finally {
      this.busy--;
    }
  }

  private refusal(req: IncomingMessage): readonly [number, string] | undefined {
    const { tokenFile } = this.d.config;
    if (tokenFile !== undefined && !this.isAllowed(req.headers.authorization))
      return [401, 'a bearer token is needed: see tokenFile in the configuration of the agent'];
    if (req.url?.split('?')[0] !== '/metrics') return [404, 'there is nothing but /metrics'];
    if (req.method !== 'GET' && req.method !== 'HEAD') return [405, 'GET only'];
    if (this.busy >= MOST_AT_ONCE) return [503, 'too many scrapes at once'];
    return undefined;
  }

  private isAllowed(authorization: string | undefined): boolean {
    const shown = /^Bearer +(\S{1,4096})$/i.exec(authorization ?? '')?.[1];
    try {
      return shown !== undefined && timingSafeEqual(hashOf(shown), this.tokenHash() ?? Buffer.alloc(0));
    } catch (e) {
      this.d.log.warn(`nobody can scrape: ${chain(e)}`);
      return false;
    }
  }

  /** Read anew each time, so that a new token counts at once. */
  private tokenHash(): Buffer | undefined {
    const { tokenFile } = this.d.config;
    if (tokenFile === undefined) return undefined;
    const token = read(tokenFile).toString('utf8').trim();
    if (token.length < 16) throw badState(`${tokenFile} holds no token: at least 16 characters are expected`);
    return hashOf(token);
  }

  private context(): { readonly cert: Buffer | string; readonly key: Buffer | string; readonly minVersion: 'TLSv1.2' } {
    const { certificateFile, keyFile } = this.d.config;
    if (certificateFile !== undefined && keyFile !== undefined) {
      const context = { cert: read(certificateFile), key: read(keyFile), minVersion: 'TLSv1.2' } as const;
      this.stamp = this.stampNow();
      return context;
    }
    const own = this.d.identity.pair('control');
    if (own === undefined) throw badState('this host has no certificate to give out metrics with: enrol it first');
    return { cert: own.certPem, key: own.keyPem, minVersion: 'TLSv1.2' };
  }

  /** Of files that are configured. */
  private stampNow(): string {
    const { certificateFile, keyFile } = this.d.config;
    return [certificateFile, keyFile].map((f) => (f === undefined ? '' : String(statSync(f).mtimeMs))).join();
  }

  /** Certificates are renewed by whoever made them: the new one is taken up without a restart. */
  private follow(): void {
    if (this.d.config.certificateFile === undefined) this.unfollow = this.d.identity.subscribe(() => this.renew());
    else this.lookLater();
  }

  private lookLater(): void {
    this.timer = this.d.clock.after(LOOK_EVERY_MS, () => {
      this.renew(() => this.stampNow() !== this.stamp);
      this.lookLater();
    });
  }

  private renew(isDue = () => true): void {
    try {
      if (isDue()) (this.server as TlsServer).setSecureContext(this.context());
    } catch (e) {
      this.d.log.warn(`the certificate for metrics could not be read again, the one before stays: ${chain(e)}`);
    }
  }
}

const hashOf = (text: string): Buffer => createHash('sha256').update(text).digest();

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (e) {
    throw badState(`${file} can't be read: ${(e as Error).message}`);
  }
}

function answer(res: ServerResponse, status: number, text: string, type = 'text/plain; charset=utf-8'): void {
  const headers = { 'content-type': type, 'content-length': Buffer.byteLength(text), 'cache-control': 'no-store' };
  res.writeHead(status, status === 401 ? { ...headers, 'www-authenticate': 'Bearer' } : headers);
  res.end(text);
}
