/** berth vm stats: how busy VMs were in the last ten minutes. */
import { OUTPUT, type Command } from '../core/command.ts';
import { format, renderEach, roomOf } from '../output/render.ts';
import { historyLines } from '../top/stats.ts';

export const vmStats: Command = {
  noun: 'vm',
  verb: 'stats',
  summary: 'show how busy VMs were in the last ten minutes',
  args: [{ name: 'vms', description: 'the VMs', required: true, many: true, kind: 'vm' }],
  flags: [OUTPUT],
  async run(ctx, names, flags) {
    const api = await ctx.api();
    await renderEach(ctx, flags, {
      names,
      get: (vm) => api.call(api.statistics, (c) => c.getVmStatistics, { vm }),
      name: (r) => r.name,
      lines: (r) => [
        `vm ${r.name}${r.now ? `, ${r.now.state} on ${r.now.host}` : ', off'}`,
        ...historyLines(r.points, r.stepMs, { room: roomOf(ctx, format(flags) === 'wide') }),
      ],
    });
  },
};
