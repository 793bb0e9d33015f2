/** berth vm top: who is busiest. */
import type { VmStatistics } from '@berth/proto/v1/statistics.ts';
import { text, type Command } from '../core/command.ts';
import { allPages } from '../core/pages.ts';
import { percent } from '../core/words.ts';
import { latency, perSecond, rate, size } from '../output/rates.ts';
import type { Column } from '../output/table.ts';
import { headOf, known, runTop, shareOf, TOP_FLAGS } from '../top/top.ts';

const columns: readonly Column<VmStatistics>[] = [
  { title: 'NAME', cell: (v) => v.name },
  { title: 'HOST', cell: (v) => v.host, spare: 4 },
  { title: 'STATE', cell: (v) => v.state, spare: 5 },
  // agents of before tell no rates but this
  { title: 'CPU', cell: (v) => (v.overMs > 0 || v.cpuUsed > 0 ? percent(v.cpuUsed) : ''), right: true },
  { title: 'MEMORY', cell: (v) => shareOf(v.memoryUsedBytes, v.memoryBytes), right: true },
  { title: 'READ', cell: known((v) => rate(v.diskReadBytes)), right: true, spare: 1 },
  { title: 'WRITE', cell: known((v) => rate(v.diskWriteBytes)), right: true, spare: 1 },
  { title: 'OPS', cell: known((v) => perSecond(v.diskReads + v.diskWrites)), right: true, spare: 3 },
  { title: 'LATENCY', cell: (v) => latency(mean(v)), right: true, spare: 3 },
  { title: 'IN', cell: known((v) => rate(v.netReceiveBytes)), right: true, spare: 2 },
  { title: 'OUT', cell: known((v) => rate(v.netTransmitBytes)), right: true, spare: 2 },
  { title: 'VCPU', cell: (v) => String(v.vcpus), right: true, wide: true },
  { title: 'QEMU', cell: (v) => size(v.residentBytes), right: true, wide: true },
  { title: 'BALLOON', cell: (v) => size(v.balloonBytes), right: true, wide: true },
  { title: 'READ LATENCY', cell: (v) => latency(v.diskReadMs), right: true, wide: true },
  { title: 'WRITE LATENCY', cell: (v) => latency(v.diskWriteMs), right: true, wide: true },
  { title: 'FLUSHES', cell: known((v) => perSecond(v.diskFlushes)), right: true, wide: true },
  { title: 'FLUSH LATENCY', cell: (v) => latency(v.diskFlushMs), right: true, wide: true },
  { title: 'PACKETS IN', cell: known((v) => perSecond(v.netReceivePackets)), right: true, wide: true },
  { title: 'PACKETS OUT', cell: known((v) => perSecond(v.netTransmitPackets)), right: true, wide: true },
  { title: 'NET ERRORS', cell: known((v) => perSecond(v.netErrors)), right: true, wide: true },
];

/** Of reads and writes together. */
function mean(v: VmStatistics): number {
  const operations = v.diskReads + v.diskWrites;
  return operations > 0 ? (v.diskReads * v.diskReadMs + v.diskWrites * v.diskWriteMs) / operations : 0;
}

export const vmTop: Command = {
  noun: 'vm',
  verb: 'top',
  summary: 'show which VMs are busiest, again and again',
  details: [
    'CPU is in shares of one CPU: 150 % is one and a half. MEMORY is what the guest uses, where its balloon driver tells; else what',
    'its QEMU takes of the host. Disk and network are means since the last sample, which hosts take every 10 s; - is not known yet.',
    'Keys: c m d n a sort by CPU, memory, disk, network, name; w shows more columns; q ends.',
  ].join('\n'),
  args: [],
  flags: [...TOP_FLAGS, { spec: '--host <host>', description: 'only those on this host', kind: 'host' }],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const wanted = { selector: text(flags, 'selector') ?? '', host: text(flags, 'host') ?? '' };
    const empty = 'no VM that fits is on and measured; the first figures come within 10 s of a start';
    await runTop(ctx, flags, {
      title: 'VMs',
      columns,
      empty,
      all: () =>
        allPages(async (page) => {
          const request = { ...wanted, page, sort: '', limit: 0 };
          const r = await api.call(api.statistics, (c) => c.listVmStatistics, request);
          return { items: r.vms, next: r.nextPageToken };
        }),
      async first(sort, limit) {
        const request = { ...wanted, sort, limit, page: undefined };
        const r = await api.call(api.statistics, (c) => c.listVmStatistics, request);
        return { rows: r.vms, head: headOf('on', r.total), empty };
      },
      value: {
        cpu: (v) => v.cpuUsed,
        memory: (v) => v.memoryUsedBytes,
        disk: (v) => v.diskReadBytes + v.diskWriteBytes,
        net: (v) => v.netReceiveBytes + v.netTransmitBytes,
      },
    });
  },
};
