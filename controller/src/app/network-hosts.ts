/** Which hosts have a network, what they say of it, and why it is not there. Reads tables and reports; writes nothing. */
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId, NetworkId } from '@berth/shared/model/ids.ts';
import type { Network, NetworkSeen } from '@berth/shared/model/network.ts';
import type { Hosts, HostStatus } from '../hosts/hosts.ts';
import { isOneOf } from './pool-hosts.ts';

/** It reports, its libvirt answers, and its agent knows networks. */
export function takesNetworks(hosts: Pick<Hosts, 'status'>, hostId: HostId): boolean {
  const { state, complete, facts } = hosts.status(hostId);
  const up = state === 'up' || state === 'maintenance';
  return up && complete.has('networks') && facts?.capabilities.includes('networks') === true;
}

/** Berth has something to make on hosts. */
export const isMade = ({ shape }: Pick<Network, 'shape'>): boolean => shape.kind !== 'bridge';

export const networkOn = (status: Pick<HostStatus, 'networks'>, networkId: NetworkId): NetworkSeen | undefined =>
  status.networks?.find((n) => n.networkId === networkId);

export interface NetworkThere {
  readonly state: string;
  /** Empty: it is there. */
  readonly reason: string;
}

/** What a host says, or that part of it that has to do with one network. */
export type Told = Pick<HostStatus, 'networks' | 'bridges' | 'facts'>;

/** What a host that reports has of it. */
export function networkThere(network: Network, host: Pick<Host, 'id' | 'labels'>, told: Told): NetworkThere {
  const { bridge } = network.shape;
  if (!isOneOf(network, host)) return { state: 'absent', reason: 'it is not one of its hosts' };
  const found = told.bridges.find((b) => b.name === bridge);
  if (isMade(network)) {
    const made = madeThere(network, told);
    if (made !== undefined) return made;
  }
  if (!found) return { state: 'absent', reason: `has no bridge ${bridge}` };
  return found.up ? { state: 'active', reason: '' } : { state: 'inactive', reason: `its bridge ${bridge} is down` };
}

/** Undefined: it is. */
function madeThere({ id }: Network, told: Told): NetworkThere | undefined {
  if (told.facts?.capabilities.includes('networks') === false)
    return { state: 'absent', reason: 'its agent cannot make networks (it lacks networks): upgrade it' };
  const seen = networkOn(told, id);
  if (!seen) return { state: 'absent', reason: 'it has not been made there yet' };
  return seen.state === 'active' ? undefined : { state: seen.state, reason: seen.reason || 'it is not up' };
}
