/** Answers that go on: server-sent events, and files as they come. Back-pressure is the sink's; what is sent is the handler's. */
import type { DescMessage } from '@bufbuild/protobuf';
import type { ServerResponse } from 'node:http';
import { isClusterError, type ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { State } from '../../state/state.ts';
import type { Call, Method } from '../call.ts';
import { toHttpError } from './errors.ts';
import { jsonOf } from './messages.ts';
import { Sink, type StreamLimits } from './sink.ts';

export interface Streaming {
  readonly res: ServerResponse;
  readonly method: Method;
  readonly output: DescMessage;
  readonly answers: AsyncIterable<unknown>;
  readonly call: Call;
  readonly traceId: string;
  /** Of a file; application/octet-stream unless said otherwise. */
  readonly contentType?: string | undefined;
}

export interface StreamDeps {
  readonly state: Pick<State, 'settled'>;
  readonly clock: Clock;
  readonly limits: StreamLimits;
}

/** So long an answer may take before the headers go ahead of it: what fails at once is still an error with a status. */
const HEADERS_AFTER_MS = 100;
/** A browser comes again after so long. */
const RETRY_MS = 3_000;

/** Each answer is one event; its `id` is what Last-Event-ID takes, where the answers have a place to go on from. */
export async function sendEvents(s: Streaming, deps: StreamDeps): Promise<void> {
  const sink = new Sink(s.res, deps.limits, deps.clock);
  const begin = () => {
    s.res.writeHead(200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
    s.res.write(`retry: ${RETRY_MS}\n\n`);
    sink.beat(': heartbeat\n\n');
  };
  try {
    for await (const answer of beginning(s.answers, begin, deps.clock)) {
      await deps.state.settled();
      if (s.call.signal.aborted) break;
      const json = jsonOf(s.output, s.method.responseSerialize(answer));
      await sink.write(eventOf(json), s.call.signal);
    }
    sink.end(lastWord(s));
  } catch (e) {
    if (!s.res.headersSent) throw e;
    sink.end(isClusterError(e) ? errorEvent(e, s.traceId) : '');
    throw e;
  }
}

/** The `data` of each answer, one after another. A stream that fails in its middle is cut, so that nobody takes it for whole. */
export async function sendBytes(s: Streaming, deps: StreamDeps): Promise<void> {
  const sink = new Sink(s.res, deps.limits, deps.clock);
  const begin = () => {
    s.res.writeHead(200, { 'content-type': s.contentType ?? 'application/octet-stream' });
    s.res.flushHeaders();
  };
  try {
    for await (const answer of beginning(s.answers, begin, deps.clock)) {
      if (s.call.signal.aborted) break;
      await sink.write((answer as { readonly data: Uint8Array }).data, s.call.signal);
    }
    if (s.call.signal.aborted) sink.break();
    else sink.end();
  } catch (e) {
    if (s.res.headersSent) sink.break();
    throw e;
  }
}

/** That it was all, or why it is not. */
function lastWord({ call: { signal }, traceId }: Streaming): string {
  if (!signal.aborted) return 'event: end\ndata: {}\n\n';
  return isClusterError(signal.reason) ? errorEvent(signal.reason, traceId) : '';
}

const errorEvent = (e: ClusterError, traceId: string): string =>
  `event: error\ndata: ${JSON.stringify(toHttpError(e, traceId).body)}\n\n`;

function eventOf(json: Record<string, unknown>): string {
  const id = json['resumeAfter'];
  return `${typeof id === 'string' && id !== '0' ? `id: ${id}\n` : ''}data: ${JSON.stringify(json)}\n\n`;
}

/** Calls `begin` before the first answer, before the end, or after a while; not when it fails before that. */
async function* beginning(answers: AsyncIterable<unknown>, begin: () => void, clock: Clock): AsyncGenerator<unknown> {
  let begun = false;
  const once = () => {
    if (!begun) begin();
    begun = true;
  };
  const later = clock.after(HEADERS_AFTER_MS, once);
  try {
    for await (const answer of answers) {
      once();
      yield answer;
    }
    once();
  } finally {
    later.cancel();
  }
}
