/** Bearer tokens of the public API: made, listed, ended. Whether one opens anything is authentication.ts's. */
import { badState, ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Role, Token, User } from '@berth/shared/model/access.ts';
import { newId } from '@berth/shared/model/ids.ts';
import { newSecret } from '@berth/shared/runtime/random.ts';
import type { State, Tx } from '../state/state.ts';
import { rank } from './access.ts';
import { keepAdministrator } from './administrators.ts';
import { checkRole } from './grants.ts';
import { hashSecret } from './secrets.ts';
import { checkUserName, putUser } from './users.ts';

export interface NewToken {
  /** Name of its user. */
  readonly user: string;
  readonly role: Role;
  readonly lifetimeMs: number;
  readonly description?: string;
  readonly session?: boolean;
}

export interface TokenRequest {
  readonly user: string;
  /** Empty: all that the user may. */
  readonly role: string;
  /** 0: a year. */
  readonly lifetimeMs: number;
  readonly description?: string;
}

const YEAR_MS = 365 * 86_400_000;
const LONGEST_MS = 10 * YEAR_MS;
const MOST_OF_USER = 10_000;
const LONGEST_DESCRIPTION = 200;

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
    ...(t.description ? { description: t.description } : {}),
    ...(t.session ? { session: true } : {}),
  };
  tx.tokens.put(token);
  return { token, secret };
}

/** What a caller shows: `<token id>.<secret>`. */
export const bearerOf = (made: { token: Token; secret: string }): string => `${made.token.id}.${made.secret}`;

export class Tokens {
  constructor(private readonly state: State) {}

  /**
   * For a name that is no user yet, a service account of that name is made, with the role everywhere.
   * @param most the token may do no more than this.
   */
  create(r: TokenRequest, by: string, most: Role = 'admin') {
    const wanted = checkRequest(r);
    return this.state.update((tx) => {
      const user = tx.users.byName(r.user) ?? newAccount(tx, wanted, by);
      const role = wanted.role ?? most;
      if (rank(role) > rank(most))
        throw new ClusterError('PERMISSION_DENIED', `your own token is for ${most}: it can't make one for ${role}`);
      if (tx.tokens.byUser(user.name).length >= MOST_OF_USER)
        throw badState(
          `${user.name} has ${MOST_OF_USER} tokens: end some first (berth token list, berth token revoke)`,
        );
      const made = putToken(tx, { ...wanted, user: user.name, role });
      const message = `${by} made a token for ${user.name} (${role})`;
      tx.event({ ...EVENT, type: 'token.created', subject: made.token.id, message });
      return { ...made, user };
    });
  }

  /** Oldest first. @param user only of this one. */
  list(user?: string): readonly Token[] {
    const { tokens } = this.state.tables;
    return user === undefined ? [...tokens.values()] : tokens.byUser(user);
  }

  find(id: string): Token | undefined {
    return this.state.tables.tokens.get(id);
  }

  user(token: Token): User | undefined {
    return this.state.tables.users.byName(token.user);
  }

  delete(id: string, by: string): Promise<void> {
    return this.state.update((tx) => {
      const token = tx.tokens.get(id);
      if (token === undefined) throw unknown(id);
      keepAdministrator(tx, `token ${id} is of`, () => tx.tokens.delete(id));
      const message = `${by} ended a token of ${token.user}`;
      tx.event({ ...EVENT, type: 'token.deleted', subject: id, message });
    });
  }
}

const EVENT = { severity: 'info', subjectKind: 'token', jobId: undefined } as const;

export const unknown = (id: string): ClusterError =>
  notFound(`token ${id.slice(0, 80)} does not exist. See: berth token list`);

function newAccount(tx: Tx, wanted: Wanted, by: string): User {
  const role = wanted.role ?? 'viewer';
  const user = putUser(tx, { name: wanted.user, kind: 'service', grants: [{ role, cluster: '', selector: '' }] });
  const message = `${by} added service account ${user.name} (${role})`;
  tx.event({ ...EVENT, type: 'user.added', subjectKind: 'user', subject: user.name, message });
  return user;
}

interface Wanted extends Omit<NewToken, 'role'> {
  readonly role: Role | undefined;
}

export function checkLifetime(ms: number): number {
  if (ms >= 60_000 && ms <= LONGEST_MS) return ms;
  throw invalidArgument('a token lives from one minute to ten years');
}

function checkRequest(r: TokenRequest): Wanted {
  const user = checkUserName(r.user);
  const role = r.role === '' ? undefined : checkRole(r.role);
  const lifetimeMs = checkLifetime(r.lifetimeMs || YEAR_MS);
  const description = checkDescription(r.description ?? '');
  return { user, role, lifetimeMs, description };
}

export function checkDescription(text: string): string {
  const description = text.trim();
  if (description.length <= LONGEST_DESCRIPTION) return description;
  throw invalidArgument(`a description is at most ${LONGEST_DESCRIPTION} letters long`);
}
