/** Documents of kind user: who it is and what it may do. Passwords and tokens are secrets and stand in no document. */
import type { Grant, User } from '@berth/proto/v1/user.ts';
import { invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { ROLES, USER_KINDS } from '@berth/shared/model/access.ts';
import { oneOf } from '@berth/shared/hardware/values.ts';
import * as z from 'zod';
import type { Api } from '../core/api.ts';
import type { Change, Kind, Plan } from './kind.ts';

const schema = z.strictObject({
  kind: z.literal('user'),
  name: z.string().min(1, 'must not be empty'),
  spec: z
    .strictObject({
      kind: oneOf(USER_KINDS).optional(),
      disabled: z.boolean().optional(),
      roles: z
        .array(z.strictObject({ role: oneOf(ROLES), cluster: z.string().optional(), selector: z.string().optional() }))
        .optional(),
    })
    .optional(),
  status: z.unknown().optional(),
});
type UserDocument = z.output<typeof schema>;

export const userKind: Kind = { schema, plan: planUser };

const words = (g: Grant): string =>
  [g.role, g.cluster && `in ${g.cluster}`, g.selector && `on ${g.selector}`].filter(Boolean).join(' ');

async function planUser(api: Api, d: UserDocument): Promise<Plan> {
  const { kind = 'person', disabled = false, roles } = d.spec ?? {};
  const user = await find(api, d.name);
  if (user && user.kind !== kind)
    throw invalidArgument(`user ${d.name}: kind is ${kind}, but it is a ${user.kind}, and stays one`);
  const had = user?.grants ?? [];
  const wanted = roles?.map((r) => ({ role: r.role, cluster: r.cluster ?? '', selector: r.selector ?? '' })) ?? [
    ...had,
  ];
  const added = wanted.filter((g) => !had.some((h) => words(h) === words(g)));
  const gone = had.filter((h) => !wanted.some((g) => words(g) === words(h)));
  const changes: Change[] = [
    ...added.map((g) => ({ field: 'role', before: '', after: words(g) })),
    ...gone.map((g) => ({ field: 'role', before: words(g), after: '' })),
    ...((user?.disabled ?? false) === disabled
      ? []
      : [{ field: 'disabled', before: String(!disabled), after: String(disabled) }]),
  ];
  const what = user === undefined ? 'create' : changes.length === 0 ? 'nothing' : 'update';
  return {
    ...{ noun: 'user', name: d.name, what, changes },
    apply: async (to) => {
      const now = user ?? (await to.call(to.users, (c) => c.createUser, { name: d.name, kind, grants: wanted }));
      // first what is given, so that nobody is without a role in between
      if (user) for (const grant of added) await to.call(to.users, (c) => c.grantRole, { user: d.name, grant });
      for (const grant of gone) await to.call(to.users, (c) => c.revokeRole, { user: d.name, grant });
      if (disabled && !now.disabled) await to.call(to.users, (c) => c.disableUser, { user: d.name });
      if (!disabled && now.disabled) await to.call(to.users, (c) => c.enableUser, { user: d.name });
      return { jobId: '', said: user ? 'changed' : `added. To let it log in: berth token create ${d.name}` };
    },
  };
}

async function find(api: Api, name: string): Promise<User | undefined> {
  try {
    return await api.call(api.users, (c) => c.getUser, { user: name });
  } catch (e) {
    if (isClusterError(e, 'NOT_FOUND')) return undefined;
    throw e;
  }
}
