/** Whole answers: JSON, errors, short texts; and the headers that every answer has. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Exchange } from './body.ts';
import { toHttpError } from './errors.ts';

/**
 * No CORS: browsers of other origins get nothing. No Strict-Transport-Security either: it would bind every other port of
 * the host, and the certificate is of Berth's own CA.
 */
const ALWAYS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

export const TRACE_HEADER = 'berth-trace-id';

export function dress(res: ServerResponse, traceId: string): void {
  for (const [name, value] of Object.entries(ALWAYS)) res.setHeader(name, value);
  res.setHeader(TRACE_HEADER, traceId);
}

export function sendText(res: ServerResponse, status: number, text: string): void {
  res.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'content-length': Buffer.byteLength(text) });
  res.end(text);
}

/** @param body an object, or JSON text that is ready. */
export function sendJson(res: ServerResponse, status: number, body: object | string): void {
  const text = typeof body === 'string' ? body : `${JSON.stringify(body)}\n`;
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  res.end(text);
}

/** What is dropped without ado, so that the connection can be used again. */
const SHORT_BYTES = 64 << 10;

const isShort = (req: IncomingMessage): boolean =>
  req.headers['transfer-encoding'] === undefined && Number(req.headers['content-length'] ?? 0) <= SHORT_BYTES;

/** An error instead of an answer. */
export function sendError({ req, res }: Exchange, e: ClusterError, traceId: string): void {
  if (res.writableEnded) return;
  if (res.destroyed || res.headersSent) return void res.destroy();
  const { status, headers, body } = toHttpError(e, traceId);
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
  if (!req.complete && !isShort(req)) res.setHeader('connection', 'close');
  sendJson(res, status, body);
}

/** How long a caller may go on sending after its answer; what comes is dropped. */
const LINGER_MS = 2_000;

/** Cuts off who sends on although the answer is there. */
export function cutWhoSendsOn({ req, res }: Exchange, clock: Clock): void {
  res.once('finish', () => {
    if (req.complete) return;
    const cut = clock.after(LINGER_MS, () => req.destroy());
    req.once('end', () => cut.cancel()).once('close', () => cut.cancel());
    req.resume();
  });
}

/** Cuts off who reads nothing of an answer that is there: else every such caller would keep a page of a list in memory. */
export function cutWhoDoesNotRead(res: ServerResponse, slowMs: number): void {
  res.setTimeout(slowMs, () => res.destroy());
}
