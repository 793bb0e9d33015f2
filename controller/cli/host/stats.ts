/** berth host stats: how busy hosts were in the last ten minutes, their network cards and pools. */
import type { HostStatistics } from '@berth/proto/v1/statistics.ts';
import { OUTPUT, type Command } from '../core/command.ts';
import { perSecond, rate, size } from '../output/rates.ts';
import { format, renderEach, roomOf } from '../output/render.ts';
import { tableLines } from '../output/table.ts';
import { historyLines } from '../top/stats.ts';
import { shareOf } from '../top/top.ts';

export const hostStats: Command = {
  noun: 'host',
  verb: 'stats',
  summary: 'show how busy hosts were in the last ten minutes, their network cards and pools',
  args: [{ name: 'hosts', description: 'the hosts', required: true, many: true, kind: 'host' }],
  flags: [OUTPUT],
  async run(ctx, names, flags) {
    const api = await ctx.api();
    const wide = format(flags) === 'wide';
    await renderEach(ctx, flags, {
      names,
      get: (host) => api.call(api.statistics, (c) => c.getHostStatistics, { host }),
      name: (r) => r.now?.name ?? '',
      lines: (r) => [
        `host ${r.now?.name ?? ''}, ${r.now?.state ?? 'unknown'}`,
        ...historyLines(r.points, r.stepMs, { skip: ['disk latency'], room: roomOf(ctx, wide) }),
        ...(r.now === undefined ? [] : deviceLines(r.now, roomOf(ctx, wide))),
      ],
    });
  },
};

/** @param room letters in a line */
export function deviceLines(h: HostStatistics, room: number): string[] {
  const nics = tableLines(
    [
      { title: 'NIC', cell: (n) => n.name },
      { title: 'KIND', cell: (n) => n.kind, spare: 1 },
      { title: 'IN', cell: (n) => rate(n.receiveBytes), right: true },
      { title: 'OUT', cell: (n) => rate(n.transmitBytes), right: true },
      { title: 'PACKETS IN', cell: (n) => perSecond(n.receivePackets), right: true, spare: 2 },
      { title: 'PACKETS OUT', cell: (n) => perSecond(n.transmitPackets), right: true, spare: 2 },
      { title: 'ERRORS', cell: (n) => perSecond(n.errors), right: true },
      { title: 'DROPS', cell: (n) => perSecond(n.drops), right: true },
    ],
    h.nics,
    true,
    room,
  );
  const pools = tableLines(
    [
      { title: 'POOL', cell: (p) => p.name },
      { title: 'SIZE', cell: (p) => size(p.sizeBytes), right: true },
      { title: 'USED', cell: (p) => shareOf(p.sizeBytes - p.freeBytes, p.sizeBytes), right: true },
      { title: 'FREE', cell: (p) => size(p.freeBytes), right: true },
    ],
    h.pools,
    true,
    room,
  );
  return [...(h.nics.length > 0 ? ['', ...nics] : []), ...(h.pools.length > 0 ? ['', ...pools] : [])];
}
