/** berth vm set-password: of a user in a guest. The password is read from a terminal or standard input, never from the command line. */
import { text, type Command } from '../core/command.ts';
import { print } from '../core/context.ts';
import { readNewPassword } from '../core/password.ts';
import { GUEST_DEADLINE_MS } from './guest.ts';

export const vmSetPassword: Command = {
  noun: 'vm',
  verb: 'set-password',
  summary: 'set the password of a user in a guest',
  details: `Read from the terminal without echo, or from standard input: berth vm set-password web < FILE. It is kept nowhere but in
the guest.`,
  args: [{ name: 'vm', description: 'the VM', required: true, kind: 'vm' }],
  flags: [{ spec: '--user <user>', description: 'whose password (default root)' }],
  async run(ctx, [vm = ''], flags) {
    const user = text(flags, 'user') ?? 'root';
    const password = await readNewPassword(ctx, `New password of ${user} in vm ${vm}`);
    const api = await ctx.api();
    await api.call(api.guests, (c) => c.setGuestPassword, { vm, user, password }, GUEST_DEADLINE_MS);
    print(ctx, `vm ${vm}: password of ${user} set`);
  },
};
