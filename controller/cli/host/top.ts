/** berth host top: which hosts are busiest. */
import type { HostStatistics } from '@berth/proto/v1/statistics.ts';
import { text, type Command } from '../core/command.ts';
import { allPages } from '../core/pages.ts';
import { percent } from '../core/words.ts';
import { perSecond, rate } from '../output/rates.ts';
import type { Column } from '../output/table.ts';
import { headOf, known, runTop, shareOf, TOP_FLAGS } from '../top/top.ts';

const up = (cell: (h: HostStatistics) => string) => (h: HostStatistics) =>
  h.state === 'up' || h.state === 'maintenance' ? cell(h) : '';
const fullest = (h: HostStatistics): string => {
  const shares = h.pools.filter((p) => p.sizeBytes > 0).map((p) => 1 - p.freeBytes / p.sizeBytes);
  return shares.length === 0 ? '' : percent(Math.max(...shares));
};

const columns: readonly Column<HostStatistics>[] = [
  { title: 'NAME', cell: (h) => h.name },
  { title: 'STATE', cell: (h) => h.state, spare: 4 },
  { title: 'VMS', cell: up((h) => String(h.runningVms)), right: true, spare: 5 },
  { title: 'CPU', cell: up((h) => percent(h.cpuUsed)), right: true },
  { title: 'LOAD', cell: up((h) => h.load1.toFixed(2)), right: true, spare: 3 },
  { title: 'MEMORY', cell: up((h) => shareOf(h.memoryUsedBytes, h.memoryBytes)), right: true },
  { title: 'POOL', cell: up(fullest), right: true, spare: 4 },
  { title: 'READ', cell: known((h) => rate(h.diskReadBytes)), right: true, spare: 1 },
  { title: 'WRITE', cell: known((h) => rate(h.diskWriteBytes)), right: true, spare: 1 },
  { title: 'IN', cell: known((h) => rate(h.netReceiveBytes)), right: true, spare: 2 },
  { title: 'OUT', cell: known((h) => rate(h.netTransmitBytes)), right: true, spare: 2 },
  { title: 'CPUS', cell: up((h) => String(h.cpuThreads)), right: true, wide: true },
  { title: 'IOWAIT', cell: known((h) => percent(h.cpuIowait)), right: true, wide: true },
  { title: 'STEAL', cell: known((h) => percent(h.cpuSteal)), right: true, wide: true },
  { title: 'LOAD5', cell: known((h) => h.load5.toFixed(2)), right: true, wide: true },
  { title: 'LOAD15', cell: known((h) => h.load15.toFixed(2)), right: true, wide: true },
  { title: 'SWAP', cell: up((h) => shareOf(h.swapUsedBytes, h.swapBytes)), right: true, wide: true },
  { title: 'OPS', cell: known((h) => perSecond(h.diskReads + h.diskWrites)), right: true, wide: true },
  { title: 'NET ERRORS', cell: known((h) => perSecond(h.netErrors)), right: true, wide: true },
];

export const hostTop: Command = {
  noun: 'host',
  verb: 'top',
  summary: 'show which hosts are busiest, again and again',
  details: [
    'CPU is a share of all CPUs of the host. POOL is how full its fullest pool is. READ and WRITE are those of its disks, IN and OUT',
    'those of its physical network cards. - is not known yet, or a host that cannot be reached.',
    'Keys: c m d n a sort by CPU, memory, disk, network, name; w shows more columns; q ends.',
  ].join('\n'),
  args: [],
  flags: TOP_FLAGS,
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const selector = text(flags, 'selector') ?? '';
    const empty = 'no host fits';
    await runTop(ctx, flags, {
      title: 'hosts',
      columns,
      empty,
      all: () =>
        allPages(async (page) => {
          const request = { selector, page, sort: '', limit: 0 };
          const r = await api.call(api.statistics, (c) => c.listHostStatistics, request);
          return { items: r.hosts, next: r.nextPageToken };
        }),
      async first(sort, limit) {
        const request = { selector, sort, limit, page: undefined };
        const r = await api.call(api.statistics, (c) => c.listHostStatistics, request);
        return { rows: r.hosts, head: headOf('hosts', r.total), empty };
      },
      value: {
        cpu: (h) => h.cpuUsed,
        memory: (h) => h.memoryUsedBytes,
        disk: (h) => h.diskReadBytes + h.diskWriteBytes,
        net: (h) => h.netReceiveBytes + h.netTransmitBytes,
      },
    });
  },
};
