/** NetworkService: logical networks. Decides nothing. */
import type {
  CreateNetworkRequest,
  ForeignNetwork,
  Network as NetworkOnWire,
  NetworkOnHost,
  NetworkServiceService,
  UpdateNetworkRequest,
} from '@berth/proto/v1/network.ts';
import type { NetworkKind } from '@berth/shared/model/network.ts';
import type { CreateNetwork, NetworkJob, NetworksApp, UpdateNetwork } from '../app/networks.ts';
import type { ForeignNetworkView, NetworkSummary, Sees } from '../app/network-lists.ts';
import type { NetworkView } from '../app/network-view.ts';
import type { Tables } from '../state/state.ts';
import type { Call, Handlers } from './call.ts';
import { toWire } from './numbers.ts';
import { toQuery } from './page.ts';
import type { Scope } from './scope.ts';

/** Of hosts, and of VMs, in one answer. */
const MOST_TOLD = 500;

export const networkHandlers = (
  networks: NetworksApp,
  tables: Tables,
  scope: Scope,
): Handlers<NetworkServiceService> => {
  const sees = (call: Call, name: string): boolean => {
    const host = tables.hosts.byName(name);
    return host !== undefined && scope.seesHost(call, host);
  };
  /** Of its hosts and VMs, those that the caller may see, and no more than an answer can hold. */
  const toNetwork = (call: Call, v: NetworkView): NetworkOnWire => {
    const onHosts = v.onHosts.filter((h) => sees(call, h.host));
    const vms = v.vms.filter((vm) => scope.seesVm(call, vm));
    const activeCount = onHosts.filter((h) => h.state === 'active').length;
    const row = { ...v, hosts: v.hosts.filter((h) => sees(call, h)) };
    return {
      ...encode({ ...row, hostCount: onHosts.length, activeCount, vmCount: vms.length }),
      onHosts: some(onHosts),
      vms: vms.slice(0, MOST_TOLD).map((vm) => vm.name),
    };
  };
  const toRow = (call: Call, v: NetworkSummary): NetworkOnWire =>
    encode({ ...v, hosts: v.hosts.filter((h) => sees(call, h)).slice(0, MOST_TOLD) });
  const seen = (call: Call): Sees => ({
    host: (h) => scope.seesHost(call, h),
    vm: (vm) => scope.seesVm(call, vm),
  });
  const toJob = (call: Call, { view, jobId }: NetworkJob) => ({ network: toNetwork(call, view), jobId: jobId ?? '' });
  return {
    createNetwork: async (r, call) => toJob(call, await networks.create(readCreate(r), call.user)),
    getNetwork: async (r, call) => toNetwork(call, await networks.get(r.network)),
    listNetworks: async (r, call) => {
      if (r.foreign) {
        const { items, nextPageToken } = networks.foreign(toQuery(r.page), seen(call));
        return { networks: [], nextPageToken, foreign: items.map(encodeForeign) };
      }
      const { items, nextPageToken } = await networks.list(toQuery(r.page), seen(call));
      return { networks: items.map((n) => toRow(call, n)), nextPageToken, foreign: [] };
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

/** Of too many hosts, those where all is well are left out first. */
function some(all: NetworkView['onHosts']): NetworkOnHost[] {
  const is = (h: NetworkOnHost): boolean => h.state === 'active';
  const sorted = all.length > MOST_TOLD ? [...all.filter((h) => !is(h)), ...all.filter(is)] : all;
  return sorted.slice(0, MOST_TOLD).map((h) => ({ ...h }));
}

function encode(v: NetworkSummary): NetworkOnWire {
  const { network: n, hostCount, activeCount, vmCount } = v;
  return {
    ...{ id: n.id, name: n.name, state: n.state, ...n.shape, addresses: [...n.shape.addresses] },
    ...{ labels: { ...n.labels }, allHosts: n.hosts.all, hosts: [...v.hosts], selector: n.hosts.selector },
    ...{ createdAtMs: toWire(n.createdAtMs), jobId: v.jobId ?? '', hostCount, activeCount, vmCount },
    ...{ onHosts: [], vms: [] },
  };
}

const encodeForeign = (f: ForeignNetworkView): ForeignNetwork => {
  const { host, name, uuid, kind, bridge, state, addresses } = f;
  return { host, name, uuid, kind, bridge, state, addresses: [...addresses] };
};
