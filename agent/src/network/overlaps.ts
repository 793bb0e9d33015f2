/** Whether addresses of a new network are somebody's already: the host's own, those that it has a route to, or of other networks. Pure. */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import { overlap } from '@berth/shared/network/check.ts';
import { parseCidr } from '@berth/shared/net/ip.ts';

/** Addresses that somebody has. */
export interface Taken {
  /** CIDR. */
  readonly network: string;
  /** Interface that they are reached by; empty: none now. */
  readonly device: string;
  /** For people: `address 10.0.0.5/24 of eth0`. */
  readonly what: string;
}

/** @param bridge its own: what is there already is its. @throws BAD_STATE */
export function refuseOverlaps(
  of: { readonly name: string; readonly bridge: string; readonly addresses: readonly string[] },
  taken: readonly Taken[],
  hostName: string,
): void {
  for (const address of of.addresses) {
    const wanted = parseCidr(address);
    const found = wanted && taken.find((t) => t.device !== of.bridge && overlaps(t.network, wanted));
    if (found)
      throw badState(
        `network ${of.name}: ${address} overlaps with ${found.what} on ${hostName}: choose other addresses, or hosts that do not have these`,
      );
  }
}

function overlaps(network: string, wanted: NonNullable<ReturnType<typeof parseCidr>>): boolean {
  const cidr = parseCidr(network);
  return cidr !== undefined && overlap(cidr, wanted);
}
