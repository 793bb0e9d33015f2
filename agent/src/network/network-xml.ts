/** Definitions of libvirt's networks: those of ours as text, and any as what we look at. Pure; golden files keep the text. */
import { createHash } from 'node:crypto';
import { dhcpOf } from '@berth/shared/network/check.ts';
import { formatIp, networkOf, parseCidr, parseIp } from '@berth/shared/net/ip.ts';
import { attributeAt, find, findAll, parseXml, textAt, type XmlElement } from '../domain/xml/tree.ts';
import { el, textEl, type Node } from '../domain/xml/text.ts';
import type { VirtualNetworkMark, VirtualNetworkSeen } from '../drivers/virtual-networks.ts';
import type { NetworkSpec } from './network-spec.ts';

/** Never changes, as that of domains. */
const NAMESPACE = 'urn:berth:network:1';

/** The same for the same network on every host, so that no list of them is needed. As version 5 has it, over SHA-256. */
export function networkUuid(networkId: string): string {
  const b = Buffer.from(digest(`berth network ${networkId}`).subarray(0, 16));
  b.writeUInt8((b.readUInt8(6) & 0x0f) | 0x50, 6);
  b.writeUInt8((b.readUInt8(8) & 0x3f) | 0x80, 8);
  return b.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** The same on every host too: a guest that goes to another finds the gateway that it knows. */
function bridgeMac(networkId: string): string {
  const [a = 0, b = 0, c = 0] = digest(`berth bridge of network ${networkId}`);
  return ['52', '54', '00', ...[a, b, c].map((n) => n.toString(16).padStart(2, '0'))].join(':');
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Of all that libvirt is told, but for the mark itself. */
export const networkHash = (spec: NetworkSpec): string => digest(definition(spec, [])).toString('hex').slice(0, 32);

export const networkXml = (spec: NetworkSpec): string =>
  definition(spec, [
    el(
      'metadata',
      {},
      el(
        'berth:network',
        { 'xmlns:berth': NAMESPACE },
        textEl('berth:id', {}, spec.networkId),
        textEl('berth:hash', {}, networkHash(spec)),
        textEl('berth:generation', {}, spec.generation),
      ),
    ),
  ]);

function definition({ networkId, name, shape: s }: NetworkSpec, mark: readonly Node[]): string {
  return el(
    'network',
    {},
    textEl('name', {}, name),
    textEl('uuid', {}, networkUuid(networkId)),
    ...mark,
    s.kind === 'nat' ? el('forward', { mode: 'nat' }) : undefined,
    el('bridge', { name: s.bridge, stp: s.stp ? 'on' : 'off', delay: s.delaySeconds }),
    el('mac', { address: bridgeMac(networkId) }),
    ...s.addresses.map((a) => ipXml(a, s.dhcpRange)),
  );
}

function ipXml(cidr: string, dhcpRange: string): Node {
  const [address = '', prefix = ''] = cidr.split('/');
  if (address.includes(':')) return el('ip', { family: 'ipv6', address, prefix });
  const range = dhcpOf(dhcpRange);
  const dhcp = range && el('dhcp', {}, el('range', { start: range.from, end: range.to }));
  return el('ip', { address, prefix }, dhcp);
}

/** What is no XML reads as a network of which nothing is known. */
export function readNetworkXml(xml: string): Pick<VirtualNetworkSeen, 'kind' | 'bridge' | 'addresses' | 'mark'> {
  const root = parseXml(xml);
  const forward = find(root, 'forward');
  return {
    kind: forward ? (forward.attributes['mode'] ?? 'nat') : 'isolated',
    bridge: attributeAt(root, 'name', 'bridge') ?? '',
    addresses: findAll(root, 'ip').flatMap(readIp),
    mark: readMark(root),
  };
}

function readIp({ attributes: a }: XmlElement): string[] {
  const ip = parseIp(a['address'] ?? '');
  const prefix = a['prefix'] ?? prefixOf(a['netmask'] ?? '');
  const cidr = ip && parseCidr(`${formatIp(ip)}/${prefix}`);
  return cidr ? [`${formatIp(cidr)}/${cidr.prefix}`] : [];
}

/** libvirt prints masks of IPv4 as they were written. */
function prefixOf(mask: string): string {
  const ip = parseIp(mask);
  if (ip?.family !== 4) return '';
  const bits = ip.value.toString(2).padStart(32, '0');
  const prefix = bits.indexOf('0') < 0 ? 32 : bits.indexOf('0');
  return networkOf({ ...ip, prefix }).first.value === ip.value ? String(prefix) : '';
}

function readMark(root: XmlElement): VirtualNetworkMark | undefined {
  const ours = find(root, 'metadata')?.children.find((c) => c.name === 'berth:network');
  const networkId = textAt(ours, 'berth:id');
  if (!/^network-[a-z0-9-]{1,60}$/.test(networkId)) return undefined;
  return { networkId, hash: textAt(ours, 'berth:hash'), generation: Number(textAt(ours, 'berth:generation')) || 0 };
}
