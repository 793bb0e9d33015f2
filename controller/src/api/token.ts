/** TokenService: bearer tokens. */
import type { Token as WireToken, TokenServiceService } from '@berth/proto/v1/token.ts';
import type { Token } from '@berth/shared/model/access.ts';
import { bearerOf, type Tokens } from '../app/tokens.ts';
import { fromWire, toWire } from './numbers.ts';
import type { Handlers } from './call.ts';

export const tokenHandlers = (tokens: Tokens): Handlers<TokenServiceService> => ({
  createToken: async (r, call) => {
    const lifetimeMs = fromWire('lifetime_ms', r.lifetimeMs);
    const made = await tokens.create({ user: r.user, role: r.role, lifetimeMs }, call.user);
    return { token: toToken(made.token), secret: bearerOf(made) };
  },
  listTokens: () => ({ tokens: tokens.list().map(toToken) }),
  deleteToken: async (r, call) => {
    await tokens.delete(r.token, call.user);
    return {};
  },
});

const toToken = (t: Token): WireToken => ({
  id: t.id,
  user: t.user,
  role: t.role,
  createdAtMs: toWire(t.createdAtMs),
  expiresAtMs: toWire(t.expiresAtMs),
});
