/** TokenService: bearer tokens. Everybody has their own; administrators have all. */
import type { Token as WireToken, TokenServiceService } from '@berth/proto/v1/token.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Token } from '@berth/shared/model/access.ts';
import { bearerOf, unknown, type Tokens } from '../app/tokens.ts';
import { fromWire, toWire } from './numbers.ts';
import type { Call, Handlers } from './call.ts';

export const tokenHandlers = (tokens: Tokens): Handlers<TokenServiceService> => ({
  createToken: async (r, call) => {
    insistOwn(r.user, call);
    const lifetimeMs = fromWire('lifetime_ms', r.lifetimeMs);
    const request = { user: r.user, role: r.role, lifetimeMs, description: r.description };
    const made = await tokens.create(request, call.user, tokens.find(call.tokenId)?.role);
    return { token: toToken(made.token), secret: bearerOf(made) };
  },
  listTokens: (r, call) => {
    if (r.user !== '') insistOwn(r.user, call);
    const user = r.user !== '' || isAdmin(call) ? r.user : call.user;
    return { tokens: tokens.list(user === '' ? undefined : user).map(toToken) };
  },
  deleteToken: async (r, call) => {
    if (!isAdmin(call) && tokens.find(r.token)?.user !== call.user) throw unknown(r.token);
    await tokens.delete(r.token, call.user);
    return {};
  },
});

const isAdmin = (call: Call): boolean => call.access.everywhere('admin');

function insistOwn(user: string, call: Call): void {
  if (user === call.user || isAdmin(call)) return;
  throw new ClusterError('PERMISSION_DENIED', `the tokens of others are for administrators; ${call.user} has its own`);
}

const toToken = (t: Token): WireToken => ({
  id: t.id,
  user: t.user,
  role: t.role,
  createdAtMs: toWire(t.createdAtMs),
  expiresAtMs: toWire(t.expiresAtMs),
  description: t.description ?? '',
  lastUsedAtMs: toWire(t.lastUsedAtMs),
  lastUsedFrom: t.lastUsedFrom ?? '',
});
