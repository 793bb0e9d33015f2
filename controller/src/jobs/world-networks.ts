/** Networks in the scheduler's picture: which ones a VM needs, and why one is not on a host. Reads tables and reports. */
import type { Host } from '@berth/shared/model/host.ts';
import type { NetworkId } from '@berth/shared/model/ids.ts';
import type { VmSpec } from '@berth/shared/model/vm.ts';
import { networkThere } from '../app/network-hosts.ts';
import type { HostStatus } from '../hosts/hosts.ts';
import type { PlacementRequest } from '../scheduler/world.ts';
import type { Tables } from '../state/state.ts';

type Networks = Pick<Tables, 'networks'>;

/** Absent: none. Bridges of cards that are in no network are asked for by themselves. */
export function networksWanted({ nics }: VmSpec, tables: Networks): Pick<PlacementRequest, 'networks'> {
  const ids = [...new Set(nics.flatMap((n) => n.networkId ?? []))];
  return ids.length === 0 ? {} : { networks: ids.map((id) => ({ id, name: tables.networks.get(id)?.name ?? id })) };
}

/** In words; undefined: it is there. */
export function whyNoNetwork(tables: Networks, host: Host, status: HostStatus, id: string): string | undefined {
  const network = tables.networks.get(id as NetworkId);
  if (network === undefined) return 'it does not exist any more';
  return networkThere(network, host, status).reason || undefined;
}
