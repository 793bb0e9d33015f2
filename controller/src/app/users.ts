/** What administrators do with users and service accounts: add, look, grant, disable, remove. Tokens are tokens.ts's. */
import { invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { USER_KINDS, type Grant, type User, type UserKind } from '@berth/shared/model/access.ts';
import { isId, newId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { State, Tx } from '../state/state.ts';
import { keepAdministrator } from './administrators.ts';
import { checkGrant, grantWords, sameGrant, withGrant, type GrantRequest } from './grants.ts';
import { resolve } from './names.ts';
import { pageByName, type Page, type PageQuery } from './pages.ts';

export interface UserView {
  readonly user: User;
  /** Tokens that are not over. */
  readonly tokenCount: number;
  readonly lastUsedAtMs: number | undefined;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/;

export function checkUserName(name: string): string {
  if (NAME.test(name) && !isId('user', name)) return name;
  throw invalidArgument(
    `${JSON.stringify(name.slice(0, 80))} is no user name: letters, digits and . _ @ - only, at most 63`,
  );
}

/** Puts a user into the transaction. */
export function putUser(tx: Tx, o: { name: string; kind: UserKind; grants: readonly Grant[] }): User {
  const user: User = {
    ...{ id: newId('user', tx.nowMs), name: o.name, kind: o.kind, grants: o.grants },
    ...{ disabled: false, passwordHash: undefined, createdAtMs: tx.nowMs, generation: 1 },
  };
  tx.users.put(user);
  return user;
}

export class Users {
  constructor(
    private readonly state: State,
    private readonly clock: Pick<Clock, 'now'>,
  ) {}

  async create(r: { name: string; kind: string; grants: readonly GrantRequest[] }, by: string): Promise<UserView> {
    const name = checkUserName(r.name);
    const kind = USER_KINDS.find((k) => k === (r.kind || 'person'));
    if (kind === undefined)
      throw invalidArgument(`a user is a person or a service, not ${JSON.stringify(r.kind.slice(0, 40))}`);
    const grants = r.grants.map(checkGrant).reduce(withGrant, [] as readonly Grant[]);
    const user = await this.state.update((tx) => {
      const made = putUser(tx, { name, kind, grants });
      const roles = grants.length > 0 ? ` (${grants.map(grantWords).join('; ')})` : '';
      tell(tx, made, 'user.added', `${by} added ${kind === 'service' ? 'service account' : 'user'} ${name}${roles}`);
      return made;
    });
    return this.#view(user);
  }

  async get(nameOrId: string): Promise<UserView> {
    const view = this.#view(resolve('user', this.state.tables.users, nameOrId));
    await this.state.settled();
    return view;
  }

  list(query: PageQuery): Page<UserView> {
    const page = pageByName(this.state.tables.users, query);
    return { ...page, items: page.items.map((u) => this.#view(u)) };
  }

  grant(nameOrId: string, request: GrantRequest | undefined, by: string): Promise<UserView> {
    const grant = checkGrant(request);
    return this.#change(nameOrId, (tx, user) => {
      const grants = withGrant(user.grants, grant);
      if (grants === user.grants) return user;
      tell(tx, user, 'user.granted', `${by} made ${user.name} ${grantWords(grant)}`);
      return { ...user, grants };
    });
  }

  revoke(nameOrId: string, request: GrantRequest | undefined, by: string): Promise<UserView> {
    const grant = checkGrant(request);
    return this.#change(nameOrId, (tx, user) => {
      const grants = user.grants.filter((g) => !sameGrant(g, grant));
      if (grants.length === user.grants.length)
        throw notFound(`user ${user.name} is not ${grantWords(grant)}. See: berth user show ${user.name}`);
      tell(tx, user, 'user.revoked', `${by} made ${user.name} no longer ${grantWords(grant)}`);
      return { ...user, grants };
    });
  }

  setDisabled(nameOrId: string, disabled: boolean, by: string): Promise<UserView> {
    return this.#change(nameOrId, (tx, user) => {
      if (user.disabled === disabled) return user;
      const [type, verb] = disabled ? ['user.disabled', 'disabled'] : ['user.enabled', 'enabled'];
      tell(tx, user, type, `${by} ${verb} ${user.name}`);
      return { ...user, disabled };
    });
  }

  delete(nameOrId: string, by: string): Promise<void> {
    return this.state.update((tx) => {
      const user = resolve('user', tx.users, nameOrId);
      keepAdministrator(tx, `user ${user.name} is`, () => {
        for (const token of tx.tokens.byUser(user.name)) tx.tokens.delete(token.id);
        tx.users.delete(user.id);
      });
      tell(tx, user, 'user.removed', `${by} removed ${user.name}, with its tokens`);
    });
  }

  async #change(nameOrId: string, change: (tx: Tx, user: User) => User): Promise<UserView> {
    const user = await this.state.update((tx) => {
      const before = resolve('user', tx.users, nameOrId);
      const after = change(tx, before);
      if (after === before) return before;
      const changed = { ...after, generation: before.generation + 1 };
      keepAdministrator(tx, `user ${before.name} is`, () => tx.users.put(changed));
      return changed;
    });
    return this.#view(user);
  }

  #view(user: User): UserView {
    const tokens = this.state.tables.tokens.byUser(user.name);
    const now = this.clock.now();
    const used = tokens.map((t) => t.lastUsedAtMs ?? 0);
    return {
      user,
      tokenCount: tokens.filter((t) => t.expiresAtMs > now).length,
      lastUsedAtMs: Math.max(0, ...used) || undefined,
    };
  }
}

function tell(tx: Tx, user: User, type: string, message: string): void {
  tx.event({ type, severity: 'info', subjectKind: 'user', subject: user.name, message, jobId: undefined });
}
