/** LogClient over gRPC. What comes is a host's: made harmless line by line. */
import type { ClientReadableStream } from '@grpc/grpc-js';
import { LogServiceService as Logs, type HostLogLines } from '@berth/proto/agent/v1/log.ts';
import { safeText } from '@berth/shared/units/text.ts';
import type { Connection, Method } from './connection.ts';
import { clip } from './limits.ts';
import type { HostLogLine, HostLogWanted, LogClient } from './log-client.ts';

const READ_MS = 10_000;
const LINE_CHARS = 8_200;
const MOST_CONFIGURATION = 64 << 10;

export interface LogClientOptions {
  /** Throws HOST_UNREACHABLE when none is open. */
  readonly connection: () => Connection;
  readonly call: <Req, Res>(m: Method<Req, Res>, request: Req, timeoutMs: number) => Promise<Res>;
  readonly translate: (e: unknown) => Error;
}

export const logClient = (o: LogClientOptions): LogClient => ({
  read: (wanted, signal) => read(o, wanted, signal),
  async configuration() {
    const { yaml } = await o.call(Logs.getConfiguration, {}, READ_MS);
    return safeText(yaml.slice(0, MOST_CONFIGURATION));
  },
});

async function* read(o: LogClientOptions, wanted: HostLogWanted, signal: AbortSignal): AsyncGenerator<HostLogLine> {
  const request = { ...wanted, sinceMs: BigInt(wanted.sinceMs) };
  const stream: ClientReadableStream<HostLogLines> = o.connection().serverStream(Logs.readHostLog, request);
  const stop = () => stream.cancel();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    for await (const message of stream)
      for (const l of (message as HostLogLines).lines) yield { atMs: Number(l.atMs), text: clip(l.text, LINE_CHARS) };
  } catch (e) {
    if (!signal.aborted) throw o.translate(e);
  } finally {
    signal.removeEventListener('abort', stop);
    stream.cancel();
  }
}
