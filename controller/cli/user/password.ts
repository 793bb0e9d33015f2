/** berth user password. */
import type { Command } from '../core/command.ts';
import { note } from '../core/context.ts';
import { readNewPassword, readPassword } from '../core/password.ts';

export const userPassword: Command = {
  noun: 'user',
  verb: 'password',
  summary: 'set a password: your own, or of others as an administrator',
  details: `Read from the terminal without echo, or from standard input: for your own the old password in the first line, then the
new one. With a password one logs in like this: berth login --user NAME. Other logins of the user end.`,
  args: [{ name: 'user', description: 'whose; your own when nobody is named', required: false, kind: 'user' }],
  flags: [],
  async run(ctx, [name]) {
    const api = await ctx.api();
    const me = (await api.call(api.users, (c) => c.getSelf, {})).user;
    const user = name ?? me?.name ?? '';
    const own = user === me?.name;
    const oldPassword = own && me.hasPassword ? await readPassword(ctx, 'Old password') : '';
    const password = await readNewPassword(ctx, `New password of ${user}`);
    await api.call(api.users, (c) => c.setPassword, { user, password, oldPassword });
    note(ctx, `password of ${user} set`);
  },
};
