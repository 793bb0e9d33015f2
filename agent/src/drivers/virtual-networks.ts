/**
 * The driver of virtual networks: those that libvirt makes and keeps (NAT, DHCP, routes), by its uuids. Whose they are, and what
 * they shall be, is agent/src/network's. Errors: NOT_FOUND, HYPERVISOR_UNAVAILABLE, BAD_STATE with libvirt's own words.
 */
export interface VirtualNetworkSeen {
  readonly uuid: string;
  readonly name: string;
  /** nat, route, open, bridge … as libvirt calls it; isolated where nothing is forwarded. */
  readonly kind: string;
  readonly active: boolean;
  /** Empty where it has none of its own. */
  readonly bridge: string;
  /** CIDR. */
  readonly addresses: readonly string[];
  /** What we wrote into its definition; undefined: it is not ours. */
  readonly mark: VirtualNetworkMark | undefined;
}

export interface VirtualNetworkMark {
  readonly networkId: string;
  /** Of the definition that it came from. */
  readonly hash: string;
  readonly generation: number;
}

export interface VirtualNetworks {
  list(): Promise<readonly VirtualNetworkSeen[]>;
  /** Defines it, or redefines it, which holds from its next start on. */
  define(uuid: string, xml: string): Promise<void>;
  /** From then on it comes up with libvirt. Active already is fine. */
  start(uuid: string): Promise<void>;
  /** Inactive or absent is fine. Whatever is plugged in loses its bridge. */
  stop(uuid: string): Promise<void>;
  /** Absent is fine. */
  undefine(uuid: string): Promise<void>;
}
