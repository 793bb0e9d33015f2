/** What a caller may do, and to which objects: its grants, asked. Pure. Which method needs what is api/authorisation.ts's. */
import { ROLES, type Grant, type Role, type Token, type User } from '@berth/shared/model/access.ts';
import { parseSelector, type Labels } from '@berth/shared/labels/selector.ts';

/** An object that a grant can be about. All objects are in the one cluster that there is. */
export interface Scoped {
  readonly labels: Labels;
}

export const DEFAULT_CLUSTER = 'default';

export const rank = (role: Role | 'none'): number => ROLES.indexOf(role as Role);
const lower = (a: Role, b: Role): Role => (rank(a) <= rank(b) ? a : b);

export class Access {
  readonly #grants: readonly { readonly rank: number; readonly everywhere: boolean; fits(o: Scoped): boolean }[];

  constructor(grants: readonly Grant[]) {
    this.#grants = grants.map((g) => {
      const selects = parseSelector(g.selector);
      const inCluster = g.cluster === '' || g.cluster === DEFAULT_CLUSTER;
      const everywhere = g.cluster === '' && g.selector === '';
      return { rank: rank(g.role), everywhere, fits: (o: Scoped) => inCluster && selects(o.labels) };
    });
  }

  /** The highest role that the caller has, wherever. */
  get highest(): Role | 'none' {
    return ROLES[Math.max(-1, ...this.#grants.map((g) => g.rank))] ?? 'none';
  }

  /** For what belongs to the whole installation: users, tokens of others, images, the audit log. */
  everywhere(needed: Role): boolean {
    return this.#grants.some((g) => g.everywhere && g.rank >= rank(needed));
  }

  on(needed: Role, object: Scoped): boolean {
    return this.#grants.some((g) => g.rank >= rank(needed) && g.fits(object));
  }
}

/** What a user may do with one of its tokens. */
export const accessOfToken = (user: User, token: Token): Access =>
  new Access(user.grants.map((g) => ({ ...g, role: lower(g.role, token.role) })));
