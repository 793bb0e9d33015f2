/** Puts sampler and metrics together: each scrape has counters read, and whatever is read feeds the metrics. */
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Drivers } from '../drivers/machine.ts';
import type { HostIdentity } from '../enroll/host-identity.ts';
import type { Operations } from '../operations/operations.ts';
import type { Hub } from '../watch/hub.ts';
import { createSampler, type Sampler } from '../watch/sampler.ts';
import { AgentMetrics } from './agent-metrics.ts';
import { createMeters, type Meters } from './meters.ts';

export interface MetricsPartsDeps {
  readonly drivers: Drivers;
  readonly clock: Clock;
  readonly identity: Pick<HostIdentity, 'hostId' | 'hostName'>;
  readonly hub: Pick<Hub, 'pools' | 'watchers'>;
  readonly operations: Pick<Operations, 'list'>;
  /** What the drivers count into; otherwise its own. */
  readonly meters: Meters | undefined;
}

export interface MetricsParts {
  readonly sampler: Sampler;
  readonly metrics: AgentMetrics;
  readonly meters: Meters;
}

export function createMetricsParts(d: MetricsPartsDeps): MetricsParts {
  const { drivers, clock, identity, hub, operations, meters = createMeters() } = d;
  const sampler = createSampler(drivers, clock, {
    onReading: (reading) => metrics.noteReading(reading),
    wantsVcpus: () => metrics.wanted,
  });
  const metrics = new AgentMetrics({
    ...{ drivers, clock, meters, hostId: identity.hostId, hostName: identity.hostName },
    read: () => sampler.read(),
    pools: () => hub.pools(),
    operations: () => operations.list(),
    watchers: () => hub.watchers,
  });
  return { sampler, metrics, meters };
}
