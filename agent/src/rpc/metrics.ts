/** MetricsService on the wire: the text in messages that are not too large. */
import type { MetricsServiceServer, ReadMetricsRequest } from '@berth/proto/agent/v1/metrics.ts';
import type { AgentMetrics } from '../metrics/agent-metrics.ts';
import type { Guard } from './guard.ts';

const PIECE_BYTES = 256 << 10;

export const metricsService = (guard: Guard, metrics: Pick<AgentMetrics, 'text'>): MetricsServiceServer => ({
  readMetrics: guard.serverStream('ReadMetrics', async (_: ReadMetricsRequest, send) => {
    const text = Buffer.from(await metrics.text());
    for (let at = 0; at < text.length; at += PIECE_BYTES) await send({ data: text.subarray(at, at + PIECE_BYTES) });
  }),
});
