/** The addresses that a guest is told: whether they fit each other, and are nobody else's. Reads tables; writes nothing. */
import { alreadyExists, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { NicDefinition } from '@berth/shared/hardware/definition.ts';
import type { VmId } from '@berth/shared/model/ids.ts';
import type { Vm, VmNic } from '@berth/shared/model/vm.ts';
import {
  contains,
  formatIp,
  isLinkLocal,
  networkOf,
  parseCidr,
  parseIp,
  reservedAs,
  sameIp,
} from '@berth/shared/net/ip.ts';
import type { Tables } from '../state/state.ts';
import { portsOf } from '../state/tables.ts';

export type Addresses = Pick<VmNic, 'address' | 'gateway' | 'dns'>;

/** @throws INVALID_ARGUMENT */
export function checkAddresses(n: NicDefinition): Addresses {
  const address = checkAddress(n.address ?? '');
  const gateway = n.gateway ? checkIp('the gateway', n.gateway) : undefined;
  if (address !== undefined && gateway !== undefined) checkGateway(address, gateway);
  return { address, gateway, dns: (n.dns ?? []).map((d) => checkIp('a DNS server', d)) };
}

function checkAddress(address: string): string | undefined {
  if (address === '') return undefined;
  const cidr = parseCidr(address);
  if (cidr === undefined)
    throw invalidArgument(
      `${JSON.stringify(address.slice(0, 60))} is not an address with a prefix: write it like 10.0.0.11/24`,
    );
  if (cidr.prefix === 0)
    throw invalidArgument(`${address} is of no network: say how long its prefix is, as in 10.0.0.11/24`);
  const reserved = reservedAs(cidr);
  if (reserved !== undefined) throw invalidArgument(`${address} cannot be the address of a guest: it is ${reserved}`);
  return address;
}

function checkIp(what: string, ip: string): string {
  if (parseIp(ip)) return ip;
  throw invalidArgument(`${what} must be an IP address, not ${JSON.stringify(ip.slice(0, 60))}`);
}

/** Beyond its network a guest reaches nothing without a gateway, and a gateway only within it. One of the other family is another matter. */
function checkGateway(address: string, gateway: string): void {
  const [own, ip] = [parseCidr(address), parseIp(gateway)];
  if (!own || !ip || own.family !== ip.family || isLinkLocal(ip)) return;
  if (sameIp(own, ip)) throw invalidArgument(`${gateway} cannot be the guest's own address and its gateway too`);
  // one that is alone in its network is routed by other means
  if (own.prefix === (own.family === 4 ? 32 : 128) || contains(own, ip)) return;
  const network = `${formatIp(networkOf(own).first)}/${own.prefix}`;
  throw invalidArgument(`the gateway ${gateway} is not in the network of ${address}, which is ${network}`);
}

export interface AddressOwner {
  readonly tables: Pick<Tables, 'vms'>;
  readonly own?: VmId;
  readonly sharesAddresses?: boolean;
}

/** @throws ALREADY_EXISTS when another VM on a bridge of this name has it. */
export function freeAddress({ tables, own, sharesAddresses }: AddressOwner, bridge: string, address: string): void {
  if (sharesAddresses === true) return;
  const holder = tables.vms.byAddress(bridge, address).find((vm) => vm.id !== own);
  if (holder === undefined) return;
  throw alreadyExists(
    `address ${address.split('/')[0]} is taken by vm ${holder.name} on ${bridge}. If these are two networks, or both are meant to ` +
      'have it: --allow-taken-ip',
  );
}

/** For a VM that is there, whose ports are to be others. @throws ALREADY_EXISTS when another VM of its host has one of them. */
export function freePorts({ vms }: Pick<Tables, 'vms'>, before: Vm, after: Vm): void {
  const had = portsOf(before.spec);
  for (const port of portsOf(after.spec)) {
    const holder = vms.byPort(port).find((v) => v.hostId === after.hostId && v.id !== after.id);
    if (holder && !had.includes(port)) throw alreadyExists(`port ${port} of its host is taken by vm ${holder.name}`);
  }
}
