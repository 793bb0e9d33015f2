/** berth host list. */
import { OUTPUT, SELECTOR, text, type Command } from '../core/command.ts';
import { nothingWords } from '../core/nothing.ts';
import { allPages } from '../core/pages.ts';
import { remark, renderList } from '../output/render.ts';
import { hostColumns, hostView } from './view.ts';

export const hostList: Command = {
  noun: 'host',
  verb: 'list',
  summary: 'list hosts',
  args: [],
  flags: [OUTPUT, SELECTOR],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const rows = await allPages(async (page) => {
      const r = await api.call(api.hosts, (c) => c.listHosts, { page, selector: text(flags, 'selector') });
      return { items: r.hosts.map(hostView), next: r.nextPageToken };
    });
    renderList(ctx, flags, {
      rows,
      columns: [...hostColumns(ctx.clock.now()), ...remark(rows, (h) => h.stateReason)],
      name: (h) => h.name,
      empty: await nothingWords(api, {
        ...{ what: 'hosts', advice: 'Add one with: berth host add NAME ADDRESS' },
        ...{ rows, flags },
      }),
    });
  },
};
