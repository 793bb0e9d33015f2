/** IP addresses as numbers: to compare, to count through a range, to see what lies in which network. Pure; asks no network. */
import { isIP } from 'node:net';

export interface Ip {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** An address with the length of its network's prefix. */
export interface Cidr extends Ip {
  readonly prefix: number;
}

const BITS = { 4: 32, 6: 128 } as const;

/** Undefined when it is none. An IPv6 zone (`%eth0`) is no part of an address. */
export function parseIp(text: string): Ip | undefined {
  const family = isIP(text);
  if (family === 4) return { family, value: quad(text) };
  if (family !== 6 || text.includes('%')) return undefined;
  return { family, value: groups(text).reduce((n, g) => (n << 16n) | BigInt(g), 0n) };
}

/** `10.0.0.5/24` */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', prefix = '', more] = text.split('/');
  const ip = parseIp(address);
  if (ip === undefined || more !== undefined || !/^\d{1,3}$/.test(prefix) || Number(prefix) > BITS[ip.family])
    return undefined;
  return { ...ip, prefix: Number(prefix) };
}

const quad = (text: string): bigint => text.split('.').reduce((n, part) => (n << 8n) | BigInt(part), 0n);

/** The eight of an IPv6 address that isIP has accepted. */
function groups(text: string): number[] {
  const embedded = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const v4 = embedded ? quad(embedded[2] ?? '') : 0n;
  const plain = embedded ? `${embedded[1]}${(v4 >> 16n).toString(16)}:${(v4 & 0xffffn).toString(16)}` : text;
  const [head = '', tail] = plain.split('::');
  const numbers = (part: string) => (part === '' ? [] : part.split(':').map((g) => Number.parseInt(g, 16)));
  const [before, after] = [numbers(head), numbers(tail ?? '')];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** In its shortest form, as RFC 5952 has it: two spellings of one address give the same text. */
export function formatIp({ family, value }: Ip): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((s) => (value >> s) & 0xffn).join('.');
  const all = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  const zeros = longestZeros(all);
  if (zeros.length < 2) return all.join(':');
  return `${all.slice(0, zeros.at).join(':')}::${all.slice(zeros.at + zeros.length).join(':')}`;
}

function longestZeros(all: readonly string[]): { at: number; length: number } {
  let best = { at: 0, length: 0 };
  for (let at = 0; at < all.length; at++) {
    let length = 0;
    while (all[at + length] === '0') length++;
    if (length > best.length) best = { at, length };
  }
  return best;
}

export const sameIp = (a: Ip, b: Ip): boolean => a.family === b.family && a.value === b.value;

/** The first and the last address of its network. */
export function networkOf({ family, value, prefix }: Cidr): { readonly first: Ip; readonly last: Ip } {
  const host = (1n << BigInt(BITS[family] - prefix)) - 1n;
  const first = value & ~host;
  return { first: { family, value: first }, last: { family, value: first | host } };
}

export function contains(network: Cidr, ip: Ip): boolean {
  const { first, last } = networkOf(network);
  return ip.family === network.family && ip.value >= first.value && ip.value <= last.value;
}

/** What it is instead of an address that a guest can have: `the network itself`. Undefined: it can have it. */
export function reservedAs(address: Cidr): string | undefined {
  const special = specialAs(address);
  if (special !== undefined) return special;
  const { first, last } = networkOf(address);
  if (BITS[address.family] - address.prefix < 2) return undefined;
  if (address.value === first.value)
    return address.family === 4 ? 'the network itself' : 'the anycast address of its routers';
  return address.family === 4 && address.value === last.value ? 'the broadcast address of its network' : undefined;
}

/** fe80::/10: reached on its link, whatever the network. */
export const isLinkLocal = ({ family, value }: Ip): boolean => family === 6 && value >> 118n === 0x3fan;

/** 224.0.0.0/4, ff00::/8: of nobody alone. */
export const isMulticast = ({ family, value }: Ip): boolean =>
  family === 4 ? value >> 28n === 0xen : value >> 120n === 0xffn;

/** What it is in every network, so that no host can have it there: `a loopback address`. Undefined: none of these. */
export function specialAs(ip: Ip): string | undefined {
  if (isMulticast(ip)) return 'a multicast address';
  if (ip.family === 6)
    return ip.value === 0n ? 'the address of nobody' : ip.value === 1n ? 'a loopback address' : undefined;
  if (ip.value >> 24n === 0n) return 'an address of nobody (0.0.0.0/8)';
  if (ip.value >> 24n === 127n) return 'a loopback address';
  return ip.value >> 28n === 0xfn ? 'an address that is in no network (240.0.0.0/4)' : undefined;
}
