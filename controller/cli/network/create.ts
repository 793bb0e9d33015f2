/** berth network create: a bridge that hosts have, an isolated one, or NAT with DHCP. */
import { CreateNetworkRequest } from '@berth/proto/v1/network.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import {
  labels,
  LABEL,
  list,
  NO_WAIT,
  SELECTOR,
  text,
  yes,
  type Command,
  type Flag,
  type Flags,
} from '../core/command.ts';
import { runMany } from '../job/many.ts';

export const HOSTS: readonly Flag[] = [
  { spec: '--host <host>', description: 'on these hosts: h1,h2 (default: all)', kind: 'host', many: true },
  { ...SELECTOR, description: 'on hosts with such labels: zone=a' },
];

export const hostNames = (flags: Flags): string[] =>
  list(flags, 'host').flatMap((h) => h.split(',').filter((w) => w !== ''));

export const networkCreate: Command = {
  noun: 'network',
  verb: 'create',
  summary: 'make a network that VMs can be in',
  details: `A network is a bridge with the same meaning on all hosts that have it. VMs in it are placed only where it is.
  --bridge br0           a bridge that hosts have already: Berth uses it and leaves it as it is
  --isolated             a bridge that Berth makes on each host, without a way out; with --address the host is in it too
  --nat 192.0.2.1/24     libvirt makes it on each host: guests reach out through the host, which is their gateway
Networks and bridges of others, and addresses that a host has already, are never touched: that is refused.
Examples:
  berth network create lan --bridge br0
  berth network create db --isolated --address 10.1.0.1/24 --host h1,h2
  berth network create vbr --nat 192.168.100.254/24 --dhcp 192.168.100.128-192.168.100.200 --ipv6 2001:db8:ca2:2::1/64
  berth vm create web --disk 10GiB --nic network=lan`,
  args: [{ name: 'name', description: 'name of the new network', required: true }],
  flags: [
    {
      spec: '--bridge <name>',
      description: 'bridge that hosts have it as (default with --isolated and --nat: its name)',
    },
    { spec: '--isolated', description: 'Berth makes the bridge, and nothing leads out of it' },
    { spec: '--address <cidr>', description: 'address of the host in an isolated network: 10.1.0.1/24', many: true },
    { spec: '--nat <cidr>', description: 'address of the gateway; guests reach out through the host' },
    { spec: '--dhcp <range>', description: 'addresses for guests, with --nat: 192.0.2.10-192.0.2.20' },
    { spec: '--ipv6 <cidr>', description: 'address of the gateway in IPv6 too, with --nat' },
    { spec: '--stp', description: 'spanning tree, with --nat' },
    { spec: '--delay <seconds>', description: 'how long a new port waits, with --nat (default 0)' },
    ...HOSTS,
    LABEL,
    NO_WAIT,
  ],
  run: (ctx, [name = ''], flags) => {
    const request = createRequest(name, flags);
    return runMany(ctx, {
      noun: 'network',
      names: [name],
      wait: flags['wait'] !== false,
      start: async (api) => ({ jobId: (await api.call(api.networks, (c) => c.createNetwork, request)).jobId }),
      done: async (api) => {
        const { onHosts, activeCount, hostCount } = await api.call(api.networks, (c) => c.getNetwork, {
          network: name,
        });
        const on = onHosts.filter((h) => h.state === 'active').map((h) => h.host);
        const not = hostCount - activeCount;
        const hosts = activeCount > MOST_NAMED ? `${activeCount} hosts` : on.join(', ');
        const where = activeCount > 0 ? `created, there on ${hosts}` : 'created, on no host yet';
        return not === 0 ? where : `${where}; not on ${not} (berth network show ${name})`;
      },
    });
  },
};

/** Hosts, in a line. */
const MOST_NAMED = 10;

type Kind = 'bridge' | 'isolated' | 'nat';

function kindOf(flags: Flags): Kind {
  const [nat, isolated] = [text(flags, 'nat') !== undefined, yes(flags, 'isolated')];
  if (nat && isolated) throw invalidArgument('--isolated and --nat: choose one of them');
  if (nat) return 'nat';
  if (isolated) return 'isolated';
  if (text(flags, 'bridge') !== undefined) return 'bridge';
  throw invalidArgument('what kind of network? --bridge BRIDGE (hosts have it), --isolated, or --nat ADDRESS/PREFIX');
}

function addressesOf(flags: Flags, kind: Kind): string[] {
  const [nat, ipv6, others] = [text(flags, 'nat'), text(flags, 'ipv6'), list(flags, 'address')];
  if (ipv6 !== undefined && kind !== 'nat') throw invalidArgument('--ipv6 belongs to --nat');
  if (others.length > 0 && kind === 'nat') throw invalidArgument('--address belongs to --isolated');
  return [...(nat === undefined ? others : [nat]), ...(ipv6 === undefined ? [] : [ipv6])];
}

function createRequest(name: string, flags: Flags): CreateNetworkRequest {
  const kind = kindOf(flags);
  const delay = text(flags, 'delay') ?? '0';
  if (!/^\d{1,3}$/.test(delay)) throw invalidArgument(`--delay ${delay}: give whole seconds`);
  return CreateNetworkRequest.fromPartial({
    ...{ name, kind, bridge: text(flags, 'bridge') ?? '', dhcpRange: text(flags, 'dhcp') ?? '' },
    addresses: addressesOf(flags, kind),
    ...{ stp: yes(flags, 'stp'), delaySeconds: Number(delay), labels: labels(flags) },
    ...{ hosts: hostNames(flags), selector: text(flags, 'selector') ?? '' },
  });
}
