/**
 * Sends spans to a collector by OTLP over HTTP, in batches, and loses them rather than wait: a collector that is dead, slow or silent
 * costs one request under way, a bounded queue, and nobody's time. Loaded only where tracing is on. Ours, because
 * @opentelemetry's packages take 74 ms and 17 MiB to be there, which every command of `berth` would pay.
 */
import { request as httpRequest, type ClientRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect, isIP, type LookupFunction } from 'node:net';
import { invalidArgument } from '../errors/cluster-error.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import { otlpOf, type Resource } from './otlp.ts';
import type { Span } from './trace.ts';

export interface OtlpOptions {
  /** `http://127.0.0.1:4318`, or with a path of its own. */
  readonly endpoint: string;
  readonly resource: Resource;
  readonly clock: Clock;
  readonly headers?: Readonly<Record<string, string>>;
}

const SEND_EVERY_MS = 1_000;
const MOST_WAITING = 2_048;
const MOST_AT_ONCE = 512;
const TIMEOUT_MS = 5_000;
/** After a failure, so long nothing is sent. */
const REST_MS = 10_000;
/** A collector that was there a moment ago takes no longer. */
const HANDOVER_MS = 250;

export class OtlpExporter {
  private waiting: Span[] = [];
  private timer: Timer | undefined;
  private sending: ClientRequest | undefined;
  private restsUntilMs = -Infinity;
  private readonly url: URL;
  /** Spans that nobody got. */
  lost = 0;

  constructor(private readonly o: OtlpOptions) {
    this.url = tracesUrl(o.endpoint);
  }

  readonly add = (span: Span): void => {
    if (this.waiting.length >= MOST_WAITING) return void this.lost++;
    this.waiting.push(span);
    this.timer ??= this.o.clock.after(SEND_EVERY_MS, () => this.send());
  };

  /** Sends what waits, if it can be sent at once; what then happens to it is not waited for. */
  send(): void {
    this.timer?.cancel();
    this.timer = undefined;
    if (this.waiting.length === 0) return;
    if (this.o.clock.monotonic() < this.restsUntilMs) return this.drop();
    if (this.sending !== undefined) return this.later();
    const batch = this.waiting.splice(0, MOST_AT_ONCE);
    this.post(batch, (ok) => {
      if (!ok) {
        this.lost += batch.length;
        this.restsUntilMs = this.o.clock.monotonic() + REST_MS;
      }
      this.sending = undefined;
      if (this.waiting.length > 0) this.later();
    });
  }

  stop(): void {
    this.timer?.cancel();
    this.sending?.destroy();
  }

  private later(): void {
    this.timer ??= this.o.clock.after(SEND_EVERY_MS, () => this.send());
  }

  private drop(): void {
    this.lost += this.waiting.length;
    this.waiting = [];
  }

  private post(batch: readonly Span[], done: (ok: boolean) => void): void {
    let settled = false;
    const once = (ok: boolean): void => {
      if (!settled) done(ok);
      settled = true;
    };
    const req = open(this.url, Buffer.from(otlpOf(this.o.resource, batch)), this.o.headers);
    this.sending = req;
    const late = this.o.clock.after(TIMEOUT_MS, () => req.destroy(new Error('late')));
    req.on('socket', (s) => s.unref()); // it never keeps a process
    req.on('error', () => once(false));
    req.on('close', () => (late.cancel(), once(false)));
    req.on('response', (res) => {
      res.resume();
      res.on('error', () => undefined);
      res.on('end', () => once((res.statusCode ?? 500) < 300));
    });
  }
}

function open(
  url: URL,
  body: Buffer,
  more: Readonly<Record<string, string>> = {},
  lookup?: LookupFunction,
): ClientRequest {
  const headers = { ...more, 'content-type': 'application/json', 'content-length': body.length };
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const req = send(url, { method: 'POST', headers, agent: false, ...(lookup && { lookup }) });
  req.end(body);
  return req;
}

/** @throws INVALID_ARGUMENT for what is no http(s) URL. */
export function tracesUrl(endpoint: string): URL {
  let url: URL;
  try {
    url = new URL(endpoint);
  } catch {
    throw invalidArgument(`${endpoint} is no URL of a collector: write it like http://127.0.0.1:4318`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw invalidArgument(`${endpoint}: spans are sent by OTLP over http or https`);
  if (url.pathname === '/' || url.pathname === '') url.pathname = '/v1/traces';
  return url;
}

export interface ParcelOptions extends OtlpOptions {
  /** Addresses of a name; none: it has none, or the signal came first. A look-up of Node's own cannot be given up, and keeps the process. */
  readonly addressesOf: (name: string, signal: AbortSignal) => Promise<readonly string[]>;
}

/**
 * For a program that ends soon: looks from its beginning whether the collector is there, and at its end sends all spans at once,
 * but only if it is. `end` resolves when the kernel has them.
 */
export class ParcelExporter {
  private readonly spans: Span[] = [];
  private readonly url: URL;
  private readonly over = new AbortController();
  private there = false;
  private lookup: LookupFunction | undefined;

  constructor(private readonly o: ParcelOptions) {
    this.url = tracesUrl(o.endpoint);
    void this.look();
  }

  readonly add = (span: Span): void => {
    if (this.spans.length < MOST_WAITING) this.spans.push(span);
  };

  end(): Promise<void> {
    this.over.abort();
    if (!this.there || this.spans.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const body = Buffer.from(otlpOf(this.o.resource, this.spans));
      const req = open(this.url, body, this.o.headers, this.lookup);
      const late = this.o.clock.after(HANDOVER_MS, () => req.destroy());
      const done = (): void => {
        late.cancel();
        req.socket?.unref(); // whatever it answers
        resolve();
      };
      req
        .on('finish', () => setImmediate(done))
        .on('error', done)
        .on('close', done);
    });
  }

  private async look(): Promise<void> {
    const host = this.url.hostname.replace(/^\[|\]$/g, '');
    if (isIP(host) === 0 && host !== 'localhost') {
      const addresses = await this.o.addressesOf(host, this.over.signal).catch(() => []);
      if (addresses.length === 0) return;
      this.lookup = answering(addresses);
    }
    const port = Number(this.url.port) || (this.url.protocol === 'https:' ? 443 : 80);
    const probe = connect({ host, port, ...(this.lookup && { lookup: this.lookup }) });
    probe.unref();
    probe
      .on('error', () => undefined)
      .once('connect', () => {
        this.there = true;
        probe.destroy();
      });
  }
}

/** What is known already. */
function answering(addresses: readonly string[]): LookupFunction {
  const all = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_name, options, callback) => {
    if (options.all) callback(null, all);
    else callback(null, all[0]?.address ?? '', all[0]?.family);
  };
}
