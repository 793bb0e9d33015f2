/** berth user add. */
import { text, yes, type Command } from '../core/command.ts';
import { note, print } from '../core/context.ts';
import { grantOf, ROLES, WHERE } from './roles.ts';
import { grantsWords } from './view.ts';

export const userAdd: Command = {
  noun: 'user',
  verb: 'add',
  summary: 'add a user or a service account',
  details: `The role metrics reads what monitoring scrapes and nothing else. A viewer sees, an operator also works with VMs and images, an admin does everything.
A user without a role can log in and do nothing; see: berth user grant`,
  args: [{ name: 'name', description: 'who it is', required: true }],
  flags: [
    { spec: '--role <role>', description: 'metrics, viewer, operator or admin', choices: ROLES },
    ...WHERE,
    { spec: '--service', description: 'a program, not a person' },
  ],
  async run(ctx, [name = ''], flags) {
    const role = text(flags, 'role');
    const api = await ctx.api();
    const user = await api.call(api.users, (c) => c.createUser, {
      name,
      kind: yes(flags, 'service') ? 'service' : 'person',
      grants: role === undefined ? [] : [grantOf(role, flags)],
    });
    print(ctx, `${user.kind === 'service' ? 'service account' : 'user'} ${user.name} added`);
    note(
      ctx,
      `${grantsWords(user) || 'It has no role yet: berth user grant ' + name + ' ROLE'}. To let it log in: berth token create ${name}`,
    );
  },
};
