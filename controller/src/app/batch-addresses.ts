/** Hands out the addresses of a range to the rows of a batch that say none. Reads tables; writes nothing. */
import { formatIp, parseIp, reservedAs, type Ip } from '@berth/shared/net/ip.ts';
import { inRange, parseRange, spanOf, type IpRange } from '@berth/shared/net/ip-range.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Tables } from '../state/state.ts';
import { rowWords, type Conflicts } from './batch-conflicts.ts';
import type { CloneMany } from './batch-request.ts';
import { DEFAULT_BRIDGE } from './vm-nics.ts';

export interface AddressesAsked {
  readonly tables: Pick<Tables, 'vms' | 'networks'>;
  readonly request: CloneMany;
  readonly conflicts: Conflicts;
  /** Rows whose VM is there keep what they have. */
  readonly there: ReadonlyMap<number, Vm>;
  /** How a VM may be called towards the caller. */
  readonly nameOf: (vm: Vm) => string;
}

export interface AddressesGiven {
  /** By place of the row. */
  readonly addresses: ReadonlyMap<number, string>;
  readonly notes: readonly string[];
}

/** So many that were left out are told; the others are counted. */
const TOLD = 10;

/** @throws INVALID_ARGUMENT when the range is none. */
export function giveAddresses(asked: AddressesAsked): AddressesGiven {
  const { request, conflicts, there } = asked;
  if (request.addressRange === '') return { addresses: new Map(), notes: [] };
  const range = parseRange(request.addressRange);
  const wanting = [...request.rows.entries()].filter(([at, r]) => r.address === '' && !there.has(at)).map(([at]) => at);
  const skipped: string[] = [];
  const free = freeOf(range, asked, skipped);
  const addresses = new Map<number, string>();
  for (const at of wanting) {
    const next = free.next().value;
    if (next === undefined) break;
    addresses.set(at, `${next}/${range.prefix}`);
  }
  if (addresses.size < wanting.length)
    conflicts.add(undefined, tooFew(request, range, addresses.size, wanting.length), 'NO_CAPACITY');
  return { addresses, notes: notesOf(skipped) };
}

const tooFew = ({ addressRange }: CloneMany, range: IpRange, free: number, wanted: number): string =>
  `the range ${addressRange} has ${spanOf(range)} ${spanOf(range) === 1n ? 'address' : 'addresses'}, ${free} of them free, and ` +
  `${wanted} VMs need one: make it larger`;

function notesOf(skipped: readonly string[]): readonly string[] {
  if (skipped.length <= TOLD) return skipped;
  return [...skipped.slice(0, TOLD), `${skipped.length - TOLD} more addresses of the range are left out`];
}

/** Addresses nobody has, in order, as they are asked for. */
function* freeOf(range: IpRange, asked: AddressesAsked, skipped: string[]): Generator<string, undefined> {
  const own = ownAddresses(asked);
  const bridge = bridgeOf(asked);
  for (let value = range.first.value; value <= range.last.value; value++) {
    const ip: Ip = { family: range.first.family, value };
    const text = formatIp(ip);
    if (reservedAs({ ...ip, prefix: range.prefix }) !== undefined) continue;
    const known = own.get(text);
    const holder = asked.tables.vms.byAddress(bridge, text)[0];
    const kept = [...asked.there.values()].some((vm) => vm === holder);
    if (known === undefined && holder === undefined) yield text;
    else if (known !== undefined) skipped.push(`${text} is left out: it is ${known}`);
    else if (holder && !kept) skipped.push(`${text} is left out: ${asked.nameOf(holder)} has it`);
  }
  return undefined;
}

/** Addresses that the request itself speaks of. */
function ownAddresses({ request }: AddressesAsked): ReadonlyMap<string, string> {
  const own = new Map<string, string>();
  const note = (address: string, what: string) => {
    const ip = parseIp(address.split('/')[0] ?? '');
    if (ip) own.set(formatIp(ip), what);
  };
  for (const r of [request.all, ...request.rows]) for (const dns of r.dns) note(dns, 'a name server');
  for (const r of [request.all, ...request.rows]) note(r.gateway, 'a gateway');
  for (const [at, r] of request.rows.entries()) note(r.address, `that of ${rowWords(request.rows, at)}`);
  return own;
}

const bridgeOf = ({ request: { all }, tables }: AddressesAsked): string => {
  const [nic] = all.definition?.nics ?? [];
  const network = nic?.network === undefined ? undefined : tables.networks.byName(nic.network)?.shape.bridge;
  return all.bridge || network || nic?.bridge || DEFAULT_BRIDGE;
};

/** Why a VM that is there does not fit the range; undefined: it does. */
export function outsideRange(request: CloneMany, address: string | undefined): string | undefined {
  if (request.addressRange === '') return undefined;
  const ip = parseIp(address?.split('/')[0] ?? '');
  if (ip && inRange(parseRange(request.addressRange), ip)) return undefined;
  return `${address ?? 'no address'}, which is not of ${request.addressRange}`;
}
