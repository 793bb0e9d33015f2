/**
 * What to do to a host's bridges: from what `ip` reports and what is wanted to the commands that lead there. Pure; bridges.ts
 * runs them. Ours are those whose link carries our mark; no other link is ever changed.
 */
import { createHash } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import * as z from 'zod';
import { badState, ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';

export interface LinkSeen {
  readonly name: string;
  readonly bridge: boolean;
  readonly up: boolean;
  readonly owned: boolean;
  /** Bridge that it is a port of. */
  readonly master: string | undefined;
  /** CIDR, in the one form that `canonicalCidr` gives; without those that the kernel makes up itself. */
  readonly addresses: readonly string[];
}

/** Arguments of one `ip` command. */
export type IpCommand = readonly string[];

/** The link's alias. */
const MARK = 'berth';

/**
 * A bridge is made under this name, marked, and only then given its own, because the kernel takes no alias in the request
 * that makes it: so no crash leaves a bridge of ours that looks like somebody else's.
 */
const unfinishedName = (name: string): string =>
  `.berth-${createHash('sha256').update(name).digest('hex').slice(0, 8)}`;
export const isUnfinished = (name: string): boolean => name.startsWith('.berth-');

const Links = z.array(
  z.object({
    ifname: z.string().optional(),
    flags: z.array(z.string()).default([]),
    master: z.string().optional(),
    ifalias: z.string().optional(),
    linkinfo: z.object({ info_kind: z.string().optional() }).optional(),
    addr_info: z
      .array(z.object({ local: z.string().optional(), prefixlen: z.number().optional(), scope: z.string().optional() }))
      .default([]),
  }),
);

/** Reads `ip -d -j link show` and `ip -j address show`. Throws on anything that is neither. */
export function parseLinks(linksJson: string, addressesJson: string): LinkSeen[] {
  const addresses = new Map(Links.parse(parseJson(addressesJson)).map((l) => [l.ifname, l.addr_info]));
  return Links.parse(parseJson(linksJson)).flatMap((l) => {
    if (l.ifname === undefined) return [];
    return {
      name: l.ifname,
      bridge: l.linkinfo?.info_kind === 'bridge',
      up: l.flags.includes('UP'),
      owned: l.ifalias === MARK,
      master: l.master,
      addresses: (addresses.get(l.ifname) ?? [])
        .filter((a) => a.scope !== 'link' && a.local !== undefined)
        .map((a) => canonicalCidr(`${a.local}/${a.prefixlen}`)),
    };
  });
}

/** `ip` prints nothing at all where there is nothing to list. */
const parseJson = (text: string): unknown => (text.trim() === '' ? [] : JSON.parse(text));

/** One spelling per address and prefix. INVALID_ARGUMENT for what is none. */
export function canonicalCidr(cidr: string): string {
  const cut = cidr.lastIndexOf('/');
  const [address, prefix] = [cidr.slice(0, cut), cidr.slice(cut + 1)];
  const bits = isIPv4(address) ? 32 : isIPv6(address) && !address.includes('%') ? 128 : undefined;
  if (cut < 0 || bits === undefined || !/^\d{1,3}$/.test(prefix) || Number(prefix) > bits)
    throw invalidArgument(`${JSON.stringify(cidr)} is not an address with a prefix, like 192.0.2.1/24`);
  const spelled = bits === 32 ? address : new URL(`http://[${address}]`).hostname.slice(1, -1);
  return `${spelled}/${Number(prefix)}`;
}

/**
 * Commands towards what is wanted; none when it is so already. Look again and plan again until then: with an address the
 * kernel may take away others of the same subnet. BAD_STATE when the name is somebody else's.
 */
export function planEnsure(seen: readonly LinkSeen[], name: string, addresses: readonly string[]): IpCommand[] {
  checkName(name);
  const wanted = [...new Set(addresses.map(canonicalCidr))];
  const link = seen.find((l) => l.name === name);
  if (link && !(link.bridge && link.owned)) throw notOurs(link);
  const have = link?.addresses ?? [];
  return [
    ...(link ? [] : make(seen, name)),
    ...have.filter((a) => !wanted.includes(a)).map((a) => ['address', 'del', a, 'dev', name]),
    ...wanted.filter((a) => !have.includes(a)).map((a) => ['address', 'add', a, 'dev', name]),
    ...(link?.up ? [] : [['link', 'set', 'dev', name, 'up']]),
  ];
}

function make(seen: readonly LinkSeen[], name: string): IpCommand[] {
  const half = unfinishedName(name);
  // forwards at once: a guest must not wait 15 s for a spanning tree that nobody speaks
  const add = ['link', 'add', 'name', half, 'type', 'bridge', 'forward_delay', '0', 'stp_state', '0'];
  return [
    ...(seen.some((l) => l.name === half) ? [] : [add]),
    ['link', 'set', 'dev', half, 'alias', MARK],
    ['link', 'set', 'dev', half, 'name', name],
  ];
}

/** Commands that remove the bridge, and what is left of a making that was cut short; none when it is not there. IN_USE with ports, BAD_STATE when it is not ours. */
export function planRemove(seen: readonly LinkSeen[], name: string): IpCommand[] {
  checkName(name);
  const link = seen.find((l) => l.name === name);
  const half = seen.filter((l) => l.bridge && l.name === unfinishedName(name)).map((l) => deletion(l.name));
  if (!link) return half;
  if (!(link.bridge && link.owned)) throw notOurs(link);
  const ports = seen.filter((l) => l.master === name).map((l) => l.name);
  if (ports.length > 0)
    throw new ClusterError('IN_USE', `bridge ${name} still has ports (${ports.join(', ')}); stop the VMs on it first`);
  return [...half, deletion(name)];
}

const deletion = (name: string): IpCommand => ['link', 'delete', 'dev', name, 'type', 'bridge'];

const notOurs = (link: LinkSeen): ClusterError =>
  badState(
    link.bridge
      ? `bridge ${link.name} was not made by Berth, so it is left alone; choose another name`
      : `${link.name} is a network interface of this host, not a bridge; choose another name`,
  );

/** What the kernel takes as an interface's name, less what a command line could mistake for something else. */
function checkName(name: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/.test(name))
    throw invalidArgument(
      `${JSON.stringify(name.slice(0, 80))} is not a bridge name: 1 to 15 letters, digits, dots, dashes and underscores`,
    );
}
