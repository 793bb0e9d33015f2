/** MetricsService: texts for monitoring, piece by piece. */
import type { MetricsServiceService } from '@berth/proto/v1/metrics.ts';
import type { ControllerMetrics } from '../metrics/controller-metrics.ts';
import type { Handlers } from './call.ts';

export const metricsHandlers = (metrics: ControllerMetrics): Handlers<MetricsServiceService> => ({
  readMetrics: async function* () {
    yield { data: Buffer.from(await metrics.text()) };
  },
  readHostMetrics: async function* (r, call) {
    for await (const data of metrics.host(r.host, call.signal)) yield { data: Buffer.from(data) };
  },
  readMetricsTargets: async function* (r, call) {
    yield { data: Buffer.from(metrics.targets(r.selector, (h) => call.access.on('metrics', h))) };
  },
});
