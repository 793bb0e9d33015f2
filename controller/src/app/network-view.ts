/** How a network is shown: its row, what its hosts say of it, and who is in it. Pure. */
import type { JobId } from '@berth/shared/model/ids.ts';
import type { Network, NetworkSeen } from '@berth/shared/model/network.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { networkMend } from '../jobs/networks.ts';
import type { Tables } from '../state/state.ts';
import { networkThere, takesNetworks, isMade, type NetworkThere } from './network-hosts.ts';
import { hostsOf } from './pool-hosts.ts';

export interface NetworkOnHostView extends NetworkThere {
  readonly host: string;
}

export interface NetworkView {
  readonly network: Network;
  /** Of those that were named. */
  readonly hosts: readonly string[];
  readonly onHosts: readonly NetworkOnHostView[];
  readonly jobId: JobId | undefined;
  /** In the order of their names. */
  readonly vms: readonly Vm[];
}

export interface ForeignNetworkView extends NetworkSeen {
  readonly host: string;
}

/** Why hosts refused it when it was last brought to them, as far as jobs tell. */
export function refusalsOf(network: Network, tables: Pick<Tables, 'jobs'>): ReadonlyMap<string, string> {
  const why = new Map<string, string>();
  for (const job of tables.jobs.newest(LOOKED_AT, undefined, false)) {
    const [kind, networkId, hostId = ''] = (job.key ?? '').split('/');
    if (kind !== networkMend.kind || networkId !== network.id) continue;
    if (!why.has(hostId)) why.set(hostId, job.error?.message ?? '');
  }
  return why;
}

const LOOKED_AT = 1_000;

/** @param refusals why hosts that lack it do, by their ids */
export function viewNetwork(
  network: Network,
  tables: Tables,
  hosts: Pick<Hosts, 'status'>,
  refusals: ReadonlyMap<string, string> = new Map(),
): NetworkView {
  const there = (h: ReturnType<typeof hostsOf>[number]): NetworkThere => {
    const status = hosts.status(h.id);
    const reports = status.state === 'up' || status.state === 'maintenance';
    const known = isMade(network)
      ? takesNetworks(hosts, h.id) || !status.facts?.capabilities.includes('networks')
      : true;
    if (!reports || !known || !status.complete.has('bridges'))
      return { state: 'unknown', reason: reports ? 'its libvirt does not answer' : status.reason };
    const found = networkThere(network, h, status);
    return found.state === 'absent' ? { ...found, reason: refusals.get(h.id) || found.reason } : found;
  };
  return {
    network,
    hosts: network.hosts.ids.map((id) => tables.hosts.get(id)?.name ?? id),
    onHosts: hostsOf(network, tables).map((h) => ({ host: h.name, ...there(h) })),
    jobId: tables.jobs.holders(`network/${network.id}`)[0]?.id,
    vms: [...tables.vms.byNetwork(network.id)].sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}

/** In the order of hosts and names. */
export function foreignNetworks(tables: Tables, hosts: Pick<Hosts, 'status'>): readonly ForeignNetworkView[] {
  return [...tables.hosts.values()]
    .flatMap((h) =>
      (hosts.status(h.id).networks ?? []).filter((n) => n.networkId === '').map((n) => ({ ...n, host: h.name })),
    )
    .sort((a, b) => (`${a.host} ${a.name}` < `${b.host} ${b.name}` ? -1 : 1));
}
