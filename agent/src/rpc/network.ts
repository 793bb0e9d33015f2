/** NetworkService on the wire. */
import type * as wire from '@berth/proto/agent/v1/network.ts';
import type { NetworkKind, NetworkSeen } from '@berth/shared/model/network.ts';
import { checkId, checkInterface } from '../ids.ts';
import type { LogicalNetworks } from '../network/logical-networks.ts';
import { checkNetworkSpec, type NetworkSpec } from '../network/network-spec.ts';
import { checkBridge, type Networks } from '../network/networks.ts';
import type { Operations } from '../operations/operations.ts';
import { operationIdOf, present, toNumber } from './decode.ts';
import { encodeBridge, encodeOperation, toWire } from './encode.ts';
import type { Guard } from './guard.ts';

export interface NetworkParts {
  readonly bridges: Networks;
  readonly logical: LogicalNetworks;
}

export function networkService(guard: Guard, operations: Operations, p: NetworkParts): wire.NetworkServiceServer {
  const { bridges, logical } = p;
  return {
    listBridges: guard.read('ListBridges', async () => ({ bridges: (await bridges.list()).map(encodeBridge) })),
    ensureBridge: guard.operation('EnsureBridge', async (q) => {
      const wanted = checkBridge({ name: q.name, addresses: q.addresses });
      return encodeOperation(await operations.run(bridges.ensure, operationIdOf(q), wanted));
    }),
    removeBridge: guard.operation('RemoveBridge', async (q) =>
      encodeOperation(await operations.run(bridges.remove, operationIdOf(q), checkInterface('bridge', q.name))),
    ),
    ensureNetwork: guard.operation('EnsureNetwork', async (q) => {
      const wanted = checkNetworkSpec(readSpec(present('network', q.spec)));
      return encodeOperation(await operations.run(logical.ensure, operationIdOf(q), wanted));
    }),
    removeNetwork: guard.operation('RemoveNetwork', async (q) => {
      const id = checkId('network', q.networkId);
      return encodeOperation(await operations.run(logical.remove, operationIdOf(q), id));
    }),
    listNetworks: guard.read('ListNetworks', async () => ({ networks: (await logical.observe()).map(encodeNetwork) })),
  };
}

const readSpec = (s: wire.NetworkSpec): NetworkSpec => ({
  ...{ networkId: s.networkId, name: s.name, generation: toNumber('the generation', s.generation) },
  shape: {
    ...{ kind: s.kind as NetworkKind, bridge: s.bridge, addresses: s.addresses, dhcpRange: s.dhcpRange },
    ...{ stp: s.stp, delaySeconds: s.delaySeconds },
  },
});

export const encodeNetwork = (n: NetworkSeen): wire.NetworkStatus => ({
  ...{ networkId: n.networkId, name: n.name, uuid: n.uuid, kind: n.kind, bridge: n.bridge },
  ...{ state: n.state, reason: n.reason, addresses: [...n.addresses], generation: toWire(n.generation) },
});
