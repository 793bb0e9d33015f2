/** UserService: users and service accounts, and who the caller is. */
import type { Grant as WireGrant, User as WireUser, UserServiceService } from '@berth/proto/v1/user.ts';
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Logins } from '../app/logins.ts';
import { bearerOf, type Tokens } from '../app/tokens.ts';
import type { Users, UserView } from '../app/users.ts';
import { fromWire, toWire } from './numbers.ts';
import { toQuery } from './page.ts';
import type { Handlers } from './call.ts';

export const userHandlers = (users: Users, tokens: Tokens, logins: Logins): Handlers<UserServiceService> => ({
  createUser: async (r, call) => toUser(await users.create(r, call.user)),
  getUser: async (r) => toUser(await users.get(r.user)),
  getSelf: async (_, call) => {
    const token = tokens.find(call.tokenId);
    if (token === undefined) throw notFound('your token has just ended');
    return {
      user: toUser(await users.get(token.user)),
      tokenId: token.id,
      tokenRole: token.role,
      tokenExpiresAtMs: toWire(token.expiresAtMs),
      certificateSerial: call.certificate?.serial ?? '',
    };
  },
  listUsers: (r) => {
    const { items, nextPageToken } = users.list(toQuery(r.page));
    return { users: items.map(toUser), nextPageToken };
  },
  deleteUser: async (r, call) => {
    await users.delete(r.user, call.user);
    return {};
  },
  grantRole: async (r, call) => toUser(await users.grant(r.user, r.grant, call.user)),
  revokeRole: async (r, call) => toUser(await users.revoke(r.user, r.grant, call.user)),
  disableUser: async (r, call) => toUser(await users.setDisabled(r.user, true, call.user)),
  enableUser: async (r, call) => toUser(await users.setDisabled(r.user, false, call.user)),
  login: async (r, call) => {
    const { user, password } = r;
    const made = await logins.login({ user, password, lifetimeMs: fromWire('lifetime_ms', r.lifetimeMs) }, call.peer);
    return { secret: bearerOf(made), expiresAtMs: toWire(made.token.expiresAtMs) };
  },
  setPassword: async (r, call) => {
    const own = r.user === call.user;
    if (!own && !call.access.everywhere('admin'))
      throw new ClusterError(
        'PERMISSION_DENIED',
        `the passwords of others are for administrators; ${call.user} has its own`,
      );
    const { user, password, oldPassword } = r;
    await logins.setPassword({ user, password, ...(own ? { oldPassword } : {}) }, call.user, call.tokenId);
    return {};
  },
});

const toGrant = (g: WireGrant): WireGrant => ({ role: g.role, cluster: g.cluster, selector: g.selector });

function toUser({ user, tokenCount, lastUsedAtMs }: UserView): WireUser {
  const { id, name, kind, disabled } = user;
  return {
    ...{ id, name, kind, disabled, tokenCount },
    grants: user.grants.map(toGrant),
    createdAtMs: toWire(user.createdAtMs),
    lastUsedAtMs: toWire(lastUsedAtMs),
    hasPassword: user.passwordHash !== undefined,
  };
}
