/** berth network list, show. */
import type { ForeignNetwork, Network } from '@berth/proto/v1/network.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { OUTPUT, yes, type Command, type Flags } from '../core/command.ts';
import type { Context } from '../core/context.ts';
import { allPages } from '../core/pages.ts';
import { fields, renderEach, renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';
import { networkDocument } from './document.ts';

const thereOn = (n: Network): string => `${n.activeCount} of ${n.hostCount}`;
const labelWords = (n: Network): string =>
  Object.entries(n.labels)
    .map(([k, v]) => `${k}=${v}`)
    .join(' ');

const COLUMNS: readonly Column<Network>[] = [
  { title: 'NAME', cell: (n) => n.name },
  { title: 'KIND', cell: (n) => n.kind },
  { title: 'STATE', cell: (n) => n.state },
  { title: 'BRIDGE', cell: (n) => n.bridge },
  { title: 'HOSTS', cell: thereOn },
  { title: 'VMS', cell: (n) => String(n.vmCount), right: true },
  { title: 'ADDRESS', cell: (n) => n.addresses.join(' ') || '-', spare: 1 },
  { title: 'DHCP', cell: (n) => n.dhcpRange || '-', wide: true },
  { title: 'LABELS', cell: labelWords, wide: true },
];

const FOREIGN: readonly Column<ForeignNetwork>[] = [
  { title: 'HOST', cell: (f) => f.host },
  { title: 'NAME', cell: (f) => f.name },
  { title: 'KIND', cell: (f) => f.kind },
  { title: 'STATE', cell: (f) => f.state },
  { title: 'BRIDGE', cell: (f) => f.bridge || '-' },
  { title: 'ADDRESS', cell: (f) => f.addresses.join(' ') || '-', spare: 1 },
];

export const networkList: Command = {
  noun: 'network',
  verb: 'list',
  summary: 'list networks, and on how many of their hosts they are there',
  args: [],
  flags: [{ spec: '--foreign', description: "libvirt's networks that hosts have and Berth did not make" }, OUTPUT],
  async run(ctx, _args, flags) {
    if (yes(flags, 'foreign')) return listForeign(ctx, flags);
    const api = await ctx.api();
    const rows = await allPages(async (page) => {
      const r = await api.call(api.networks, (c) => c.listNetworks, { page, foreign: false });
      return { items: r.networks, next: r.nextPageToken };
    });
    const empty = 'no networks yet. VMs are on bridges; make one with: berth network create lan --bridge br0';
    renderList(ctx, flags, { rows, columns: COLUMNS, name: (n) => n.name, empty });
  },
};

async function listForeign(ctx: Context, flags: Flags): Promise<void> {
  const api = await ctx.api();
  const rows = await allPages(async (page) => {
    const r = await api.call(api.networks, (c) => c.listNetworks, { page, foreign: true });
    return { items: r.foreign, next: r.nextPageToken };
  });
  const empty = 'no host has networks of libvirt that Berth did not make';
  renderList(ctx, flags, { rows, columns: FOREIGN, name: (f) => f.name, empty });
}

export const networkShow: Command = {
  noun: 'network',
  verb: 'show',
  summary: 'show networks in full: where they are, and why not elsewhere',
  args: [{ name: 'networks', description: 'networks to show', required: true, many: true, kind: 'network' }],
  flags: [OUTPUT],
  async run(ctx, names, flags) {
    const api = await ctx.api();
    await renderEach(ctx, flags, {
      names,
      get: (network) => api.call(api.networks, (c) => c.getNetwork, { network }),
      name: (n) => n.name,
      lines: (n) => lines(n, ctx.clock.now()),
      document: networkDocument,
    });
  },
};

const KINDS: Readonly<Record<string, string>> = {
  bridge: 'a bridge that its hosts have',
  isolated: 'isolated: nothing leads out of it',
  nat: 'NAT: guests reach out through their host',
};

function lines(n: Network, nowMs: number): string[] {
  const spanning = n.stp ? `on, a new port waits ${n.delaySeconds} s` : '';
  return fields([
    ['name', n.name],
    ['id', n.id],
    ['state', n.state === 'ready' ? '' : n.state],
    ['kind', KINDS[n.kind] ?? n.kind],
    ['bridge', n.bridge],
    [n.kind === 'nat' ? 'gateway' : 'address', n.addresses.join(', ')],
    ['dhcp', n.dhcpRange],
    ['spanning tree', spanning],
    ['hosts', n.allHosts ? 'all' : n.selector ? `those with ${n.selector}` : n.hosts.join(', ')],
    ...n.onHosts.map((h) => [`on ${h.host}`, h.reason ? `${h.state}: ${h.reason.split('\n')[0]}` : h.state] as const),
    ['on others', n.hostCount > n.onHosts.length ? `of ${n.hostCount} in all it is active on ${n.activeCount}` : ''],
    ['vms', [...n.vms, ...(n.vmCount > n.vms.length ? [`${n.vmCount - n.vms.length} more`] : [])].join(', ')],
    ['labels', labelWords(n)],
    ['age', formatAge(nowMs - Number(n.createdAtMs))],
    ['job', n.jobId],
  ]);
}
