/**
 * Lists of networks, and of those of others on hosts. What is listed is counted, not named: of a hundred networks on ten thousand hosts
 * nobody could read, or be sent, the rest; of one network `network show` tells it.
 */
import type { Host } from '@berth/shared/model/host.ts';
import type { Network, NetworkSeen } from '@berth/shared/model/network.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Hosts, HostStatus } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import type { Told } from './network-hosts.ts';
import { reported, rowOf, type NetworkRow } from './network-view.ts';
import { pageByName, type Page, type PageQuery } from './pages.ts';
import { chosen } from './pool-hosts.ts';

export interface ListsFrom {
  readonly tables: Tables;
  readonly hosts: Pick<Hosts, 'status'>;
  readonly sees: Sees;
}

export interface NetworkSummary extends NetworkRow {
  readonly hostCount: number;
  readonly activeCount: number;
  readonly vmCount: number;
}

/** What is counted is what the caller may see. */
export interface Sees {
  host(h: Host): boolean;
  vm(vm: Vm): boolean;
}

export interface ForeignNetworkView extends NetworkSeen {
  readonly host: string;
}

/** Each is looked for on every host. */
const MOST_IN_PAGE = 100;

export function listNetworks(query: PageQuery, from: ListsFrom): Page<NetworkSummary> {
  const pageSize = Math.min(MOST_IN_PAGE, query.pageSize || MOST_IN_PAGE);
  const page = pageByName(from.tables.networks, { ...query, pageSize });
  return { ...page, items: summarise(page.items, from) };
}

/** In the order of hosts and names. A page is of so many hosts that have any. */
export function listForeign(query: PageQuery, { tables, hosts, sees }: ListsFrom): Page<ForeignNetworkView> {
  const on = (h: Host): readonly NetworkSeen[] => (hosts.status(h.id).networks ?? []).filter((n) => n.networkId === '');
  const page = pageByName(tables.hosts, query, (h) => sees.host(h) && on(h).length > 0);
  const named = (h: Host) => on(h).map((n) => ({ ...n, host: h.name }));
  return { ...page, items: page.items.flatMap((h) => named(h).sort((a, b) => (a.name < b.name ? -1 : 1))) };
}

/** How many, and not which: every host is looked at once for all of them. */
function summarise(networks: readonly Network[], { tables, hosts, sees }: ListsFrom): readonly NetworkSummary[] {
  const counts = networks.map((network) => ({ network, is: chosen(network.hosts), hostCount: 0, activeCount: 0 }));
  for (const host of tables.hosts.values()) {
    if (!sees.host(host)) continue;
    const status = hosts.status(host.id);
    const narrowed = narrow(status);
    for (const count of counts) {
      if (!count.is(host)) continue;
      count.hostCount++;
      if (reported(count.network, host, status, narrowed(count.network)).state === 'active') count.activeCount++;
    }
  }
  return counts.map(({ network, hostCount, activeCount }) => ({
    ...{ ...rowOf(network, tables), hostCount, activeCount },
    vmCount: tables.vms.byNetwork(network.id).filter((vm) => sees.vm(vm)).length,
  }));
}

/** What a host has of one network, found at once and not by looking through all that it has. */
function narrow({ networks = [], bridges, facts }: HostStatus): (n: Network) => Told {
  const ours = new Map(networks.map((n) => [n.networkId as string, n]));
  const named = new Map(bridges.map((b) => [b.name, b]));
  return ({ id, shape }) => {
    const [network, bridge] = [ours.get(id), named.get(shape.bridge)];
    return { networks: network ? [network] : [], bridges: bridge ? [bridge] : [], facts };
  };
}
