/** The rules of logical networks: what each kind needs and may have. The same on both sides of the wire. Pure. */
import { invalidArgument } from '../errors/cluster-error.ts';
import { NETWORK_KINDS, type NetworkShape } from '../model/network.ts';
import {
  contains,
  formatIp,
  isLinkLocal,
  networkOf,
  parseCidr,
  parseIp,
  reservedAs,
  specialAs,
  type Cidr,
} from '../net/ip.ts';

/** What the kernel takes as an interface's name, less what a command line could mistake for something else. */
const BRIDGE = /^[A-Za-z][A-Za-z0-9._-]{0,14}$/;
const MOST_ADDRESSES = 8;
const MOST_DELAY_SECONDS = 30;

/** @throws INVALID_ARGUMENT, one line per fault. @returns it with addresses in the one form that each has */
export function checkNetwork(what: string, s: NetworkShape): NetworkShape {
  const faults = [...kindFaults(s), ...bridgeFaults(s), ...addressFaults(s), ...dhcpFaults(s)];
  if (faults.length > 0) throw invalidArgument(faults.map((f) => `${what}: ${f}`).join('\n'));
  return { ...s, addresses: s.addresses.map(addressText), dhcpRange: s.dhcpRange === '' ? '' : rangeText(s.dhcpRange) };
}

const shown = (s: string): string => JSON.stringify(s.slice(0, 60));
/** In the one form that each has; what is none stays as it is. */
export const addressText = (cidr: string): string => {
  const parsed = parseCidr(cidr);
  return parsed ? `${formatIp(parsed)}/${parsed.prefix}` : cidr;
};

function kindFaults({ kind, addresses, dhcpRange, stp, delaySeconds }: NetworkShape): string[] {
  if (!NETWORK_KINDS.includes(kind)) return [`${shown(kind)} is no kind of network: ${NETWORK_KINDS.join(', ')}`];
  const of = { bridge: 'a bridge that is there already', isolated: 'an isolated network', nat: '' }[kind];
  const extra = [
    ...(kind === 'bridge' && addresses.length > 0 ? ['addresses'] : []),
    ...(kind !== 'nat' && dhcpRange !== '' ? ['DHCP'] : []),
    ...(kind !== 'nat' && (stp || delaySeconds !== 0) ? ['spanning tree'] : []),
  ];
  const delay = Number.isInteger(delaySeconds) && delaySeconds >= 0 && delaySeconds <= MOST_DELAY_SECONDS;
  return [
    ...extra.map((e) => `${of} gets no ${e} from Berth`),
    ...(delay ? [] : [`a delay of ${delaySeconds} seconds: from 0 to ${MOST_DELAY_SECONDS}`]),
  ];
}

function bridgeFaults({ bridge }: NetworkShape): string[] {
  if (BRIDGE.test(bridge) && !bridge.includes('..')) return [];
  return [
    `${shown(bridge)} cannot be the name of a bridge: 1 to 15 letters, digits, dots, dashes and underscores, a letter first (--bridge)`,
  ];
}

function addressFaults({ kind, addresses }: NetworkShape): string[] {
  const parsed = addresses.map((a) => [a, parseCidr(a)] as const);
  const bad = parsed.flatMap(([a, c]) =>
    c === undefined ? [`${shown(a)} is no address with a prefix, like 192.0.2.1/24`] : unfit(a, c),
  );
  const cidrs = parsed.flatMap(([, c]) => (c ? [c] : []));
  const families = cidrs.map((c) => c.family);
  const v4 = families.filter((f) => f === 4).length;
  const twice = cidrs.find((c, i) => cidrs.slice(0, i).some((o) => overlap(o, c)));
  return [
    ...bad,
    ...(addresses.length > MOST_ADDRESSES ? [`more than ${MOST_ADDRESSES} addresses`] : []),
    ...(twice ? [`${formatIp(twice)}/${twice.prefix} overlaps with another of its addresses`] : []),
    ...(kind === 'nat' && (v4 !== 1 || families.length > 2)
      ? ['a network with NAT needs one address of IPv4 (--nat 192.0.2.1/24), and may have one of IPv6']
      : []),
  ];
}

function unfit(text: string, c: Cidr): string[] {
  const { first } = networkOf(c);
  const reserved = reservedAs(c);
  const what = specialAs(c) !== undefined || isLinkLocal(c) ? 'no address that a network can have' : reserved;
  if (what !== undefined) return [`${text} is ${what}`];
  return c.prefix === 0 || (c.family === 4 && c.prefix < 8) || first.value === 0n
    ? [`${text} is too large a network`]
    : [];
}

/** Whether two networks have any address in common. */
export function overlap(a: Cidr, b: Cidr): boolean {
  return contains(a, networkOf(b).first) || contains(b, networkOf(a).first);
}

export interface DhcpRange {
  readonly from: string;
  readonly to: string;
}

/** `A-B`, as it stands in a shape. Undefined: none. */
export function dhcpOf(range: string): DhcpRange | undefined {
  const [from = '', to, more] = range.split('-').map((p) => p.trim());
  const [a, b] = [parseIp(from), parseIp(to ?? '')];
  if (a?.family !== 4 || b?.family !== 4 || more !== undefined) return undefined;
  return { from: formatIp(a), to: formatIp(b) };
}

/** The same of what guests are given. */
export function rangeText(text: string): string {
  const dhcp = dhcpOf(text);
  return dhcp ? `${dhcp.from}-${dhcp.to}` : text;
}

function dhcpFaults({ kind, addresses, dhcpRange }: NetworkShape): string[] {
  if (dhcpRange === '' || kind !== 'nat') return [];
  const dhcp = dhcpOf(dhcpRange);
  const gateway = addresses.map(parseCidr).find((c) => c?.family === 4);
  if (dhcp === undefined) return [`${shown(dhcpRange)} is no range of addresses, like 192.0.2.10-192.0.2.20`];
  const [first, last] = [parseIp(dhcp.from), parseIp(dhcp.to)];
  if (gateway === undefined || first === undefined || last === undefined) return [];
  if (last.value < first.value) return [`the range ${dhcpRange} ends before it begins`];
  if (!contains(gateway, first) || !contains(gateway, last))
    return [`the range ${dhcpRange} leaves the network of ${formatIp(gateway)}/${gateway.prefix}`];
  if (gateway.value >= first.value && gateway.value <= last.value)
    return [`the range ${dhcpRange} has the network's own address ${formatIp(gateway)} in it`];
  const whole = [first, last].map((ip) => reservedAs({ ...ip, prefix: gateway.prefix })).find((w) => w !== undefined);
  return whole === undefined ? [] : [`the range ${dhcpRange} has ${whole} in it`];
}
