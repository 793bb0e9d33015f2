/** MetricsService of an agent over gRPC: the pieces of its text, as they come. */
import type { ClientReadableStream } from '@grpc/grpc-js';
import { MetricsServiceService as Metrics, type MetricsPiece } from '@berth/proto/agent/v1/metrics.ts';
import type { Connection } from './connection.ts';

/** An agent asks libvirt for three seconds at most. */
const DEADLINE_MS = 10_000;

/** Ends with the signal, or after ten seconds. @param translate errors of the transport */
export async function* readMetrics(
  connection: Connection,
  signal: AbortSignal,
  translate: (e: unknown) => Error,
): AsyncGenerator<Uint8Array> {
  const stream: ClientReadableStream<MetricsPiece> = connection.serverStream(Metrics.readMetrics, {}, DEADLINE_MS);
  const stop = () => stream.cancel();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    for await (const piece of stream) yield (piece as MetricsPiece).data;
  } catch (e) {
    if (!signal.aborted) throw translate(e);
  } finally {
    signal.removeEventListener('abort', stop);
    stream.cancel();
  }
}
