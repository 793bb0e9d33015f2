/** NetworkService: logical networks. Decides nothing. */
import type {
  CreateNetworkRequest,
  Network as NetworkOnWire,
  NetworkServiceService,
  UpdateNetworkRequest,
} from '@berth/proto/v1/network.ts';
import type { NetworkKind } from '@berth/shared/model/network.ts';
import type { CreateNetwork, NetworkJob, NetworksApp, UpdateNetwork } from '../app/networks.ts';
import type { NetworkView } from '../app/network-view.ts';
import type { Tables } from '../state/state.ts';
import type { Call, Handlers } from './call.ts';
import { toWire } from './numbers.ts';
import { toQuery } from './page.ts';
import type { Scope } from './scope.ts';

export const networkHandlers = (
  networks: NetworksApp,
  tables: Tables,
  scope: Scope,
): Handlers<NetworkServiceService> => {
  const sees = (call: Call, name: string): boolean => {
    const host = tables.hosts.byName(name);
    return host !== undefined && scope.seesHost(call, host);
  };
  /** Of its hosts and VMs, those that the caller may see. */
  const toNetwork = (call: Call, v: NetworkView): NetworkOnWire =>
    encode({
      ...v,
      hosts: v.hosts.filter((h) => sees(call, h)),
      onHosts: v.onHosts.filter((h) => sees(call, h.host)),
      vms: v.vms.filter((vm) => scope.seesVm(call, vm)),
    });
  const toJob = (call: Call, { view, jobId }: NetworkJob) => ({ network: toNetwork(call, view), jobId: jobId ?? '' });
  return {
    createNetwork: async (r, call) => toJob(call, await networks.create(readCreate(r), call.user)),
    getNetwork: async (r, call) => toNetwork(call, await networks.get(r.network)),
    listNetworks: async (r, call) => {
      const { items, nextPageToken } = await networks.list(toQuery(r.page));
      const foreign = r.foreign ? networks.foreign().filter((f) => sees(call, f.host)) : [];
      return {
        ...{ networks: items.map((n) => toNetwork(call, n)), nextPageToken },
        foreign: foreign.map(({ host, name, uuid, kind, bridge, state, addresses }) => ({
          ...{ host, name, uuid, kind, bridge, state, addresses: [...addresses] },
        })),
      };
    },
    updateNetwork: async (r, call) => toJob(call, await networks.update(r.network, readUpdate(r), call.user)),
    deleteNetwork: async (r, call) => toJob(call, await networks.delete(r.network, call.user)),
  };
};

const readCreate = (r: CreateNetworkRequest): CreateNetwork => ({
  ...{ name: r.name, labels: r.labels, hosts: r.hosts, selector: r.selector },
  shape: {
    ...{ kind: r.kind as NetworkKind, bridge: r.bridge, addresses: r.addresses, dhcpRange: r.dhcpRange },
    ...{ stp: r.stp, delaySeconds: r.delaySeconds },
  },
});

function readUpdate(r: UpdateNetworkRequest): UpdateNetwork {
  const labelled = Object.keys(r.setLabels).length > 0 || r.removeLabels.length > 0;
  return {
    ...(labelled && { labels: { set: r.setLabels, remove: r.removeLabels } }),
    ...(r.hosts && { hosts: r.hosts }),
    ...(r.addresses && { addresses: r.addresses.addresses }),
  };
}

function encode(v: NetworkView): NetworkOnWire {
  const { network: n } = v;
  return {
    ...{ id: n.id, name: n.name, state: n.state, ...n.shape, addresses: [...n.shape.addresses] },
    ...{ labels: { ...n.labels }, allHosts: n.hosts.all, hosts: [...v.hosts], selector: n.hosts.selector },
    ...{ createdAtMs: toWire(n.createdAtMs), onHosts: v.onHosts.map((h) => ({ ...h })) },
    ...{ jobId: v.jobId ?? '', vms: v.vms.map((vm) => vm.name) },
  };
}
