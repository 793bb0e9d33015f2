/** berth vm list. */
import { OUTPUT, text, type Command } from '../core/command.ts';
import { allPages } from '../core/pages.ts';
import { remark, renderList } from '../output/render.ts';
import { vmColumns, vmView } from './view.ts';

export const vmList: Command = {
  noun: 'vm',
  verb: 'list',
  summary: 'list VMs',
  args: [],
  flags: [OUTPUT, { spec: '--host <host>', description: 'only those on this host', kind: 'host' }],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const rows = await allPages(async (page) => {
      const r = await api.call(api.vms, (c) => c.listVms, { page, host: text(flags, 'host') ?? '' });
      return { items: r.vms.map(vmView), next: r.nextPageToken };
    });
    const columns = [...vmColumns(ctx.clock.now()), ...remark(rows, (v) => v.stateReason)];
    renderList(ctx, flags, {
      rows,
      columns,
      name: (v) => v.name,
      empty: 'no VMs yet. Make one with: berth vm clone IMAGE NAME',
    });
  },
};
