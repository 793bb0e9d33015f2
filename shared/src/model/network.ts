/**
 * Logical networks: what people asked for, and what a host says of one. Plain data; no I/O. What each kind needs is in
 * shared/src/network/check.ts; how a host makes one is the agent's.
 */
import type { NetworkId } from './ids.ts';
import type { PoolHosts } from './pool.ts';

/** bridge: others make it on hosts, and Berth only uses it. isolated, nat: Berth makes it. */
export const NETWORK_KINDS = ['bridge', 'isolated', 'nat'] as const;
export type NetworkKind = (typeof NETWORK_KINDS)[number];

/** What it is on every host that has it. What a kind does not have is empty. */
export interface NetworkShape {
  readonly kind: NetworkKind;
  /** What network cards are plugged into. */
  readonly bridge: string;
  /** CIDR, of the bridge. With nat: the gateways of guests, one of IPv4 and one of IPv6 at most. */
  readonly addresses: readonly string[];
  /** `192.0.2.10-192.0.2.20`: what guests are given; empty: nothing. */
  readonly dhcpRange: string;
  /** Spanning tree, and for how long a port waits. */
  readonly stp: boolean;
  readonly delaySeconds: number;
}

/** What is durable about a network. */
export interface Network {
  readonly id: NetworkId;
  readonly name: string;
  readonly state: 'creating' | 'ready' | 'deleting';
  readonly shape: NetworkShape;
  readonly hosts: PoolHosts;
  readonly labels: Readonly<Record<string, string>>;
  /** Of what hosts are told. */
  readonly generation: number;
  readonly createdAtMs: number;
}

export type NetworkState = 'active' | 'inactive' | 'failed';
export const NETWORK_STATES: readonly NetworkState[] = ['active', 'inactive', 'failed'];

/** What a host says of one. */
export interface NetworkSeen {
  /** Empty: not made by Berth. */
  readonly networkId: string;
  readonly name: string;
  readonly uuid: string;
  /** Of others: as libvirt calls it. */
  readonly kind: string;
  readonly bridge: string;
  readonly state: NetworkState;
  /** Why it is not active. */
  readonly reason: string;
  readonly addresses: readonly string[];
  readonly generation: number;
}
