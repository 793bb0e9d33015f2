/** Networks from what an agent sends: bounded, in our own types. Pure. */
import type { NetworkStatus } from '@berth/proto/agent/v1/network.ts';
import { NETWORK_STATES, type NetworkSeen } from '@berth/shared/model/network.ts';
import { bytes } from './decode.ts';
import { clip } from './limits.ts';

const MOST_ADDRESSES = 64;

export const toNetwork = (n: NetworkStatus): NetworkSeen => ({
  ...{ networkId: clip(n.networkId, 64), name: clip(n.name, 128), uuid: clip(n.uuid, 64) },
  ...{ kind: clip(n.kind, 32), bridge: clip(n.bridge, 64), reason: clip(n.reason) },
  state: NETWORK_STATES.find((s) => s === n.state) ?? 'inactive',
  addresses: n.addresses.slice(0, MOST_ADDRESSES).map((a) => clip(a, 64)),
  generation: bytes(n.generation),
});
