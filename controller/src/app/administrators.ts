/** There is always somebody who can log in and do everything: changes that would end this are refused. Pure reads. */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { User } from '@berth/shared/model/access.ts';
import type { Tables } from '../state/state.ts';

type Seen = Pick<Tables, 'users' | 'tokens'>;

export const isAdministrator = (u: User): boolean =>
  !u.disabled && u.grants.some((g) => g.role === 'admin' && g.cluster === '' && g.selector === '');

const canLogIn = (t: Seen, u: User, nowMs: number): boolean =>
  u.passwordHash !== undefined || t.tokens.byUser(u.name).some((k) => k.role === 'admin' && k.expiresAtMs > nowMs);

function hasAdministrator(t: Seen, nowMs: number): boolean {
  for (const u of t.users.values()) if (isAdministrator(u) && canLogIn(t, u, nowMs)) return true;
  return false;
}

/**
 * Runs a change inside an update. Throws BAD_STATE, so that nothing changes, when it would take away the last
 * administrator; where there is none already, nothing is refused.
 * @param what the refusal begins with: `user ann is`.
 */
export function keepAdministrator<T>(tx: Seen & { readonly nowMs: number }, what: string, change: () => T): T {
  const before = hasAdministrator(tx, tx.nowMs);
  const result = change();
  if (before && !hasAdministrator(tx, tx.nowMs))
    throw badState(
      `${what} the last administrator who can log in: make another first (berth user add NAME --role admin, berth token create NAME)`,
    );
  return result;
}
