/**
 * What Prometheus' HTTP service discovery gets: a target for each host that gives out metrics, so that hosts that are added are
 * scraped without anybody's doing. The way to most is through the controller. Pure.
 */
import type { Host, HostFacts, HostState } from '@berth/shared/model/host.ts';

export interface TargetHost {
  readonly host: Host;
  readonly state: HostState;
  /** Undefined: it has not reported yet. */
  readonly facts: Pick<HostFacts, 'capabilities' | 'metricsAddress'> | undefined;
}

export interface Target {
  readonly targets: readonly [string];
  readonly labels: Readonly<Record<string, string>>;
}

/** @param relay host:port of the controller's HTTPS. */
export const targetsOf = (hosts: readonly TargetHost[], relay: string): readonly Target[] =>
  hosts.flatMap((h) => targetOf(h, relay) ?? []);

function targetOf({ host, state, facts }: TargetHost, relay: string): Target | undefined {
  if (state === 'enrolling') return undefined;
  if (facts !== undefined && !facts.capabilities.includes('metrics')) return undefined; // its agent is too old
  const direct = facts?.metricsAddress ?? '';
  const path = direct === '' ? `/metrics/hosts/${host.id}` : '/metrics';
  return {
    targets: [direct === '' ? relay : direct],
    labels: {
      ...{ __scheme__: 'https', __metrics_path__: path, instance: host.name, host: host.name },
      ...{ __meta_berth_host_id: host.id, __meta_berth_relayed: String(direct === '') },
      ...Object.fromEntries(Object.entries(host.labels).map(([k, v]) => [`__meta_berth_label_${plain(k)}`, v])),
    },
  };
}

/** As Prometheus takes names of labels. */
const plain = (key: string): string => key.replace(/[^a-zA-Z0-9_]/g, '_');
