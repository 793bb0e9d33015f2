/** Bearer tokens of the public API: made, listed, ended, and checked at each call. */
import { badState, ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { ROLES, type Role, type Token } from '@berth/shared/model/access.ts';
import { newId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { newSecret } from '@berth/shared/runtime/random.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import type { State, Tx } from '../state/state.ts';
import { hashSecret, secretMatches } from './secrets.ts';

export interface Caller {
  readonly tokenId: string;
  readonly user: string;
  readonly role: Role;
}

export interface NewToken {
  readonly user: string;
  readonly role: Role;
  readonly lifetimeMs: number;
}

const YEAR_MS = 365 * 86_400_000;
const LONGEST_MS = 10 * YEAR_MS;
const USER = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/;

/** Puts a token into the transaction; its secret is in the answer and nowhere else. */
export function putToken(tx: Tx, t: NewToken): { readonly token: Token; readonly secret: string } {
  const secret = newSecret();
  const token: Token = {
    id: newId('token', tx.nowMs),
    user: t.user,
    role: t.role,
    secretHash: hashSecret(secret),
    createdAtMs: tx.nowMs,
    expiresAtMs: tx.nowMs + t.lifetimeMs,
  };
  tx.tokens.put(token);
  return { token, secret };
}

/** What a caller shows: `<token id>.<secret>`. */
export const bearerOf = (made: { token: Token; secret: string }): string => `${made.token.id}.${made.secret}`;

export class Tokens {
  constructor(
    private readonly state: State,
    private readonly clock: Clock,
  ) {}

  create(r: { user: string; role: string; lifetimeMs: number }, by: string) {
    const t = checkToken(r);
    return this.state.update((tx) => {
      const made = putToken(tx, t);
      tx.event({
        type: 'token.created',
        severity: 'info',
        subjectKind: 'token',
        subject: made.token.id,
        message: `${by} made a token for ${t.user} (${t.role})`,
        jobId: undefined,
      });
      return made;
    });
  }

  list(): readonly Token[] {
    return [...this.state.tables.tokens.values()];
  }

  delete(id: string, by: string): Promise<void> {
    return this.state.update((tx) => {
      const token = tx.tokens.get(id);
      if (token === undefined) throw notFound(`token ${id.slice(0, 80)} does not exist. See: berth token list`);
      if (this.isLastAdmin(token))
        throw badState(`token ${id} is the last one of an administrator: make another before you end it`);
      tx.tokens.delete(id);
      tx.event({
        type: 'token.deleted',
        severity: 'info',
        subjectKind: 'token',
        subject: id,
        message: `${by} ended a token of ${token.user}`,
        jobId: undefined,
      });
    });
  }

  /** @param header value of the `authorization` header. */
  authenticate(header: string | undefined): Caller {
    const [, id = '', secret = ''] = /^Bearer (token-[0-9a-z]+)\.([A-Za-z0-9_-]+)$/.exec(header ?? '') ?? [];
    const token = this.state.tables.tokens.get(id);
    if (!secretMatches(secret, token?.secretHash) || token === undefined)
      throw new ClusterError('UNAUTHENTICATED', noCredentials(header));
    const over = this.clock.now() - token.expiresAtMs;
    if (over >= 0)
      throw new ClusterError(
        'UNAUTHENTICATED',
        `this token expired ${formatAge(over)} ago: ask an administrator for a new one (berth token create)`,
      );
    return { tokenId: token.id, user: token.user, role: token.role };
  }

  private isLastAdmin(token: Token): boolean {
    const now = this.clock.now();
    const admins = this.list().filter((t) => t.role === 'admin' && t.expiresAtMs > now);
    return admins.length === 1 && admins[0]?.id === token.id;
  }
}

const noCredentials = (header: string | undefined): string =>
  header === undefined
    ? 'no token was shown: log in first (berth login)'
    : 'this token is not known here: log in again (berth login)';

function checkToken(r: { user: string; role: string; lifetimeMs: number }): NewToken {
  if (!USER.test(r.user))
    throw invalidArgument(`${JSON.stringify(r.user.slice(0, 80))} is no user name: letters, digits and . _ @ - only`);
  const role = ROLES.find((known) => known === r.role);
  if (role === undefined)
    throw invalidArgument(`role ${JSON.stringify(r.role.slice(0, 40))} is not one of ${ROLES.join(', ')}`);
  const lifetimeMs = r.lifetimeMs || YEAR_MS;
  if (!(lifetimeMs >= 60_000 && lifetimeMs <= LONGEST_MS))
    throw invalidArgument('a token lives from one minute to ten years');
  return { user: r.user, role, lifetimeMs };
}
