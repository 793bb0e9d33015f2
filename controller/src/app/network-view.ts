/** How a network is shown: its row, what its hosts say of it, and who is in it. Pure. */
import type { Host } from '@berth/shared/model/host.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import type { Network } from '@berth/shared/model/network.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Hosts, HostStatus } from '../hosts/hosts.ts';
import { networkMend } from '../jobs/networks.ts';
import type { Tables } from '../state/state.ts';
import { isMade, networkThere, type NetworkThere, type Told } from './network-hosts.ts';
import { hostsOf } from './pool-hosts.ts';

export interface NetworkOnHostView extends NetworkThere {
  readonly host: string;
}

export interface NetworkRow {
  readonly network: Network;
  /** Of those that were named. */
  readonly hosts: readonly string[];
  readonly jobId: JobId | undefined;
}

export interface NetworkView extends NetworkRow {
  readonly onHosts: readonly NetworkOnHostView[];
  /** In the order of their names. */
  readonly vms: readonly Vm[];
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
  const there = (h: Host): NetworkThere => {
    const status = hosts.status(h.id);
    const found = reported(network, h, status, status);
    return found.state === 'absent' ? { ...found, reason: refusals.get(h.id) || found.reason } : found;
  };
  return {
    ...rowOf(network, tables),
    onHosts: hostsOf(network, tables).map((h) => ({ host: h.name, ...there(h) })),
    vms: [...tables.vms.byNetwork(network.id)].sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}

export const rowOf = (network: Network, tables: Tables): NetworkRow => ({
  network,
  hosts: network.hosts.ids.map((id) => tables.hosts.get(id)?.name ?? id),
  jobId: tables.jobs.holders(`network/${network.id}`)[0]?.id,
});

/** What it says, or that it says nothing now. @param told all that it says, or what has to do with this network */
export function reported(network: Network, host: Host, status: HostStatus, told: Told): NetworkThere {
  const reports = status.state === 'up' || status.state === 'maintenance';
  const can = status.facts?.capabilities.includes('networks') === true;
  const known = !isMade(network) || !can || status.complete.has('networks');
  if (!reports || !known || !status.complete.has('bridges'))
    return { state: 'unknown', reason: reports ? 'its libvirt does not answer' : status.reason };
  return networkThere(network, host, told);
}
