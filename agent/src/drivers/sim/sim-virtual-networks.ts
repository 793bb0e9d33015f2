/** Virtual networks of a simulated host, as entries; what runs has its bridge among the host's. */
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { SimHost } from '@berth/shared/sim/sim-host.ts';
import { parseXml, textAt } from '../../domain/xml/tree.ts';
import { readNetworkXml } from '../../network/network-xml.ts';
import type { VirtualNetworks } from '../virtual-networks.ts';

interface SimNetwork {
  readonly name: string;
  readonly xml: string;
  active: boolean;
}

/** Faults that a test may put in. */
export interface SimVirtualNetworks extends VirtualNetworks {
  readonly networks: Map<string, SimNetwork>;
  /** Why none can be started; undefined: they can. */
  fault: string | undefined;
  /** libvirt does not answer. */
  away: boolean;
}

export function createSimVirtualNetworks(sim: SimHost): SimVirtualNetworks {
  const networks = new Map<string, SimNetwork>();
  const answering = (): void => {
    if (self.away) throw new ClusterError('HYPERVISOR_UNAVAILABLE', 'libvirt does not answer');
  };
  const self: SimVirtualNetworks = {
    ...{ networks, fault: undefined, away: false },
    async list() {
      answering();
      return [...networks].map(([uuid, { name, xml, active }]) => ({ uuid, name, active, ...readNetworkXml(xml) }));
    },
    async define(uuid, xml) {
      answering();
      networks.set(uuid, { name: textAt(parseXml(xml), 'name'), xml, active: networks.get(uuid)?.active ?? false });
    },
    async start(uuid) {
      answering();
      const network = networks.get(uuid);
      if (!network) throw notFound(`no network ${uuid}`);
      if (self.fault !== undefined) throw new ClusterError('BAD_STATE', self.fault);
      network.active = true;
      const { bridge: name, addresses } = readNetworkXml(network.xml);
      if (name !== '') sim.bridges.set(name, { name, addresses, owned: false });
    },
    async stop(uuid) {
      answering();
      const network = networks.get(uuid);
      if (!network?.active) return;
      network.active = false;
      sim.bridges.delete(readNetworkXml(network.xml).bridge);
    },
    async undefine(uuid) {
      answering();
      networks.delete(uuid);
    },
  };
  return self;
}
