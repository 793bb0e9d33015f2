/** berth user grant, revoke: which roles somebody has. */
import { text, type Command, type Flag, type Flags } from '../core/command.ts';
import { print } from '../core/context.ts';
import { grantsWords } from './view.ts';

export const ROLES = ['metrics', 'viewer', 'operator', 'admin'] as const;

const args = [
  { name: 'user', description: 'whose', required: true, kind: 'user' as const },
  { name: 'role', description: ROLES.join(', '), required: true, choices: ROLES },
];

/** Where a role holds; without any, everywhere. */
export const WHERE: readonly Flag[] = [
  { spec: '--selector <selector>', description: 'only for VMs and hosts with such labels: team=a,tier!=db' },
  { spec: '--cluster <cluster>', description: 'only for the VMs and hosts of this cluster' },
];

export const grantOf = (role: string, flags: Flags) => ({
  ...{ role, cluster: text(flags, 'cluster') ?? '', selector: text(flags, 'selector') ?? '' },
});

const change = (verb: 'grant' | 'revoke', summary: string): Command => ({
  noun: 'user',
  verb,
  summary,
  args,
  flags: WHERE,
  async run(ctx, [user = '', role = ''], flags) {
    const api = await ctx.api();
    const request = { user, grant: grantOf(role, flags) };
    const now = await api.call(api.users, (c) => (verb === 'grant' ? c.grantRole : c.revokeRole), request);
    print(ctx, `user ${now.name}: ${grantsWords(now) || 'no role'}`);
  },
});

export const userGrant = change('grant', 'give a user a role');
export const userRevoke = change('revoke', 'take a role from a user');
