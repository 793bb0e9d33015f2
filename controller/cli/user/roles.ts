/** berth user grant, revoke: which roles somebody has. */
import { type Command } from '../core/command.ts';
import { print } from '../core/context.ts';
import { grantsWords } from './view.ts';

export const ROLES = ['viewer', 'operator', 'admin'] as const;

const args = [
  { name: 'user', description: 'whose', required: true, kind: 'user' as const },
  { name: 'role', description: ROLES.join(', '), required: true },
];

const change = (verb: 'grant' | 'revoke', summary: string): Command => ({
  noun: 'user',
  verb,
  summary,
  args,
  flags: [],
  async run(ctx, [user = '', role = '']) {
    const api = await ctx.api();
    const request = { user, grant: { role, cluster: '', selector: '' } };
    const now = await api.call(api.users, (c) => (verb === 'grant' ? c.grantRole : c.revokeRole), request);
    print(ctx, `user ${now.name}: ${grantsWords(now) || 'no role'}`);
  },
});

export const userGrant = change('grant', 'give a user a role');
export const userRevoke = change('revoke', 'take a role from a user');
