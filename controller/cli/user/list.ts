/** berth user list, show. */
import { OUTPUT, type Command } from '../core/command.ts';
import { allPages } from '../core/pages.ts';
import { userDocument } from './document.ts';
import { renderEach, renderList } from '../output/render.ts';
import { userColumns, userLines } from './view.ts';

export const userList: Command = {
  noun: 'user',
  verb: 'list',
  summary: 'list users and service accounts',
  args: [],
  flags: [OUTPUT],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const rows = await allPages(async (page) => {
      const r = await api.call(api.users, (c) => c.listUsers, { page });
      return { items: r.users, next: r.nextPageToken };
    });
    renderList(ctx, flags, { rows, columns: userColumns(ctx.clock.now()), name: (u) => u.name, empty: 'no users' });
  },
};

export const userShow: Command = {
  noun: 'user',
  verb: 'show',
  summary: 'show users in full',
  args: [{ name: 'users', description: 'users to show', required: true, many: true, kind: 'user' }],
  flags: [OUTPUT],
  async run(ctx, names, flags) {
    const api = await ctx.api();
    await renderEach(ctx, flags, {
      names,
      get: (user) => api.call(api.users, (c) => c.getUser, { user }),
      name: (u) => u.name,
      document: userDocument,
      lines: (u) => userLines(u, ctx.clock.now()),
    });
  },
};
