/** berth user disable, enable, remove. */
import type { Api } from '../core/api.ts';
import type { Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';

const each = (
  verb: string,
  summary: string,
  done: string,
  act: (api: Api, user: string) => Promise<unknown>,
): Command => ({
  noun: 'user',
  verb,
  summary,
  args: [{ name: 'users', description: `users to ${verb}`, required: true, many: true, kind: 'user' }],
  flags: [],
  run: (ctx, names) =>
    runMany(ctx, {
      ...{ noun: 'user', names, wait: true },
      start: async (api, user) => (await act(api, user), { jobId: '' }),
      done: async () => done,
    }),
});

export const userDisable = each(
  'disable',
  'let users do nothing until they are enabled again',
  'disabled',
  (api, user) => api.call(api.users, (c) => c.disableUser, { user }),
);
export const userEnable = each('enable', 'let disabled users in again', 'enabled', (api, user) =>
  api.call(api.users, (c) => c.enableUser, { user }),
);
export const userRemove = each('remove', 'remove users, with their tokens', 'removed', (api, user) =>
  api.call(api.users, (c) => c.deleteUser, { user }),
);
