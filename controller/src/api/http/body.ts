/** The body of a request: read whole within a limit of bytes and of time, or handed on as it comes. Decides nothing about it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { HttpProblem } from './problem.ts';

export interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The caller waits for a word before it sends the body. */
  readonly expectsContinue: boolean;
}

export interface BodyLimits {
  /** Of a JSON body: what gRPC takes as one message. */
  readonly bytes: number;
  /** From the headers to its last byte. */
  readonly wholeMs: number;
  /** Of a body that is handed on: between two pieces. */
  readonly idleMs: number;
}

/** A JSON body as text; empty when there is none. */
export async function readText(x: Exchange, limits: BodyLimits, clock: Clock): Promise<string> {
  if (!hasBody(x.req)) return '';
  checkJson(x.req);
  checkEncoding(x.req);
  if (Number(x.req.headers['content-length'] ?? 0) > limits.bytes) throw tooLarge(limits.bytes);
  const chunks: Buffer[] = [];
  let size = 0;
  const until = clock.monotonic() + limits.wholeMs;
  for await (const chunk of pieces(x, () => until - clock.monotonic(), clock)) {
    size += chunk.length;
    if (size > limits.bytes) throw tooLarge(limits.bytes);
    chunks.push(chunk);
  }
  return decode(Buffer.concat(chunks));
}

/** A file as it comes. Fails when the sender hangs up or says nothing for `idleMs`. */
export function readPieces(x: Exchange, limits: BodyLimits, clock: Clock): AsyncGenerator<Buffer> {
  checkEncoding(x.req);
  return pieces(x, () => limits.idleMs, clock);
}

export const hasBody = (req: IncomingMessage): boolean =>
  req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0;

const tooLarge = (limit: number): HttpProblem =>
  new HttpProblem(413, 'INVALID_ARGUMENT', `the body is larger than ${formatBytes(limit)}`);

function checkJson(req: IncomingMessage): void {
  const type = (req.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase();
  if (type === 'application/json') return;
  throw new HttpProblem(
    415,
    'INVALID_ARGUMENT',
    `the body must be JSON and say so: content-type: application/json (curl --json does)`,
  );
}

function checkEncoding(req: IncomingMessage): void {
  const encoding = req.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity')
    throw new HttpProblem(415, 'INVALID_ARGUMENT', 'the body must not be compressed (content-encoding)');
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

function decode(bytes: Buffer): string {
  try {
    return UTF8.decode(bytes);
  } catch (e) {
    throw invalidArgument('the body is not UTF-8', {}, e);
  }
}

/** @param leftMs how long the next piece may take. */
async function* pieces({ req, res, expectsContinue }: Exchange, leftMs: () => number, clock: Clock) {
  if (expectsContinue) res.writeContinue();
  const input = req[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  for (;;) {
    const next = await within(input.next(), leftMs(), clock);
    if (next.done === true) return;
    yield next.value;
  }
}

function within<T>(work: Promise<T>, ms: number, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = clock.after(Math.max(0, ms), () =>
      reject(new HttpProblem(408, 'DEADLINE_EXCEEDED', 'the body did not come in time')),
    );
    work.then(
      (value) => (late.cancel(), resolve(value)),
      (e: unknown) => (late.cancel(), reject(new ClusterError('CANCELLED', 'the sender hung up', {}, { cause: e }))),
    );
  });
}
