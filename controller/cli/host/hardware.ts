/** berth host hardware: what hosts are made of. */
import type { HostHardware } from '@berth/proto/v1/machine.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { Api } from '../core/api.ts';
import { list, OUTPUT, type Command } from '../core/command.ts';
import { errorLine } from '../core/exit.ts';
import { format, renderEach, roomOf } from '../output/render.ts';
import { tableLines, type Column } from '../output/table.ts';

const PARTS = ['cpu', 'numa', 'nics', 'disks', 'pci', 'usb'] as const;

export const hostHardware: Command = {
  noun: 'host',
  verb: 'hardware',
  summary: 'show what hosts are made of: processors, NUMA, network cards, disks, PCI with IOMMU groups, USB',
  details: `Read from the host when asked. -o wide also shows ids, serial numbers and where things are attached. Examples:
  berth host hardware h1
  berth host hardware h1 --only pci -o wide`,
  args: [{ name: 'hosts', description: 'hosts to look into', required: true, many: true, kind: 'host' }],
  flags: [
    {
      spec: '--only <part>',
      description: 'only this part; may be given several times',
      choices: [...PARTS],
      many: true,
    },
    OUTPUT,
  ],
  async run(ctx, names, flags) {
    const api = await ctx.api();
    const only = list(flags, 'only');
    const wide = format(flags) === 'wide';
    await renderEach(ctx, flags, {
      names,
      get: async (host) => part(await api.call(api.hosts, (c) => c.readHostHardware, { host }), only),
      name: (h) => h.host,
      lines: (h) => [...(names.length > 1 ? [`${h.host}:`] : []), ...hardwareLines(h, wide, roomOf(ctx, wide))],
    });
  },
};

/** For who looks at the host as a whole: a host that can't be asked is no error there. */
export async function hardwareOf(api: Api, host: string): Promise<string[]> {
  try {
    return hardwareLines(await api.call(api.hosts, (c) => c.readHostHardware, { host }), true);
  } catch (e) {
    return [`hardware: not known now (${errorLine(e)})`];
  }
}

const part = (h: HostHardware, only: readonly string[]): HostHardware => {
  if (only.length === 0) return h;
  const bare: HostHardware = { host: h.host, cpu: undefined, numa: [], nics: [], disks: [], pci: [], usb: [] };
  return Object.assign(bare, Object.fromEntries(Object.entries(h).filter(([k]) => only.includes(k))));
};

/** @param room letters in a line */
export function hardwareLines(h: HostHardware, wide: boolean, room = Infinity): string[] {
  const { cpu } = h;
  const section = <T>(title: string, columns: readonly Column<T>[], rows: readonly T[]): string[] =>
    rows.length === 0 ? [] : [`${title}:`, ...tableLines(columns, rows, wide, room - 2).map((l) => `  ${l}`)];
  return [
    ...(cpu
      ? [
          `cpu: ${cpu.model}, ${count(cpu.sockets, 'socket')}, ${count(cpu.cores, 'core')}, ${count(cpu.threads, 'thread')}`,
        ]
      : []),
    ...section('numa nodes', NUMA, h.numa),
    ...section('network cards', NICS, h.nics),
    ...section('disks', DISKS, h.disks),
    ...section('PCI devices', PCI, h.pci),
    ...section('USB devices', USB, h.usb),
  ];
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

const size = (n: bigint): string => formatBytes(Number(n));
const speed = (mbps: number): string => (mbps === 0 ? '' : mbps >= 1000 ? `${mbps / 1000} Gbit/s` : `${mbps} Mbit/s`);
const optional = (n: number | undefined): string => (n === undefined ? '' : String(n));

const NUMA: Column<HostHardware['numa'][number]>[] = [
  { title: 'NODE', cell: (n) => String(n.id), right: true },
  { title: 'CPUS', cell: (n) => n.cpus },
  { title: 'MEMORY', cell: (n) => size(n.memoryBytes), right: true },
  { title: 'FREE', cell: (n) => size(n.freeBytes), right: true },
  { title: 'DISTANCES', cell: (n) => n.distances.join(' '), wide: true },
];

const NICS: Column<HostHardware['nics'][number]>[] = [
  { title: 'NAME', cell: (n) => n.name },
  { title: 'MAC', cell: (n) => n.mac },
  { title: 'LINK', cell: (n) => n.link },
  { title: 'SPEED', cell: (n) => speed(n.speedMbps), right: true },
  { title: 'DRIVER', cell: (n) => n.driver, spare: 2 },
  { title: 'KIND', cell: (n) => n.kind, spare: 1 },
  { title: 'MTU', cell: (n) => String(n.mtu), right: true, wide: true },
  { title: 'PCI', cell: (n) => n.pciAddress, wide: true },
];

const DISKS: Column<HostHardware['disks'][number]>[] = [
  { title: 'NAME', cell: (d) => d.name },
  { title: 'SIZE', cell: (d) => size(d.sizeBytes), right: true },
  {
    title: 'KIND',
    cell: (d) => [d.rotational ? 'rotating' : 'solid', d.removable ? 'removable' : ''].filter(Boolean).join(', '),
  },
  { title: 'BUS', cell: (d) => d.bus, spare: 1 },
  { title: 'SCHEDULER', cell: (d) => d.scheduler, spare: 2 },
  { title: 'MODEL', cell: (d) => d.model },
  { title: 'SERIAL', cell: (d) => d.serial, wide: true },
];

const PCI: Column<HostHardware['pci'][number]>[] = [
  { title: 'ADDRESS', cell: (d) => d.address },
  { title: 'IOMMU GROUP', cell: (d) => optional(d.iommuGroup), right: true },
  { title: 'CLASS', cell: (d) => d.className || d.classId, spare: 1 },
  { title: 'DEVICE', cell: (d) => [d.vendor || d.vendorId, d.device || d.deviceId].join(' ') },
  { title: 'DRIVER', cell: (d) => d.driver, spare: 2 },
  { title: 'ID', cell: (d) => `${d.vendorId}:${d.deviceId}`, wide: true },
  { title: 'NODE', cell: (d) => optional(d.numaNode), right: true, wide: true },
  {
    title: 'SR-IOV',
    cell: (d) =>
      d.physicalFunction ? `of ${d.physicalFunction}` : d.virtualFunctions ? `up to ${d.virtualFunctions}` : '',
    wide: true,
  },
];

const USB: Column<HostHardware['usb'][number]>[] = [
  { title: 'ID', cell: (d) => `${d.vendorId}:${d.productId}` },
  { title: 'DEVICE', cell: (d) => [d.vendor, d.product].filter(Boolean).join(' ') },
  { title: 'SPEED', cell: (d) => speed(d.speedMbps), right: true },
  { title: 'BUS', cell: (d) => `${d.bus}.${d.device}`, wide: true },
  { title: 'SERIAL', cell: (d) => d.serial, wide: true },
];
