/** Grants as people write them: checked, compared, in words. Pure. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { ROLES, type Grant, type Role } from '@berth/shared/model/access.ts';
import { parseSelector } from '@berth/shared/labels/selector.ts';
import { DEFAULT_CLUSTER } from './access.ts';

const MOST_GRANTS = 32;

export interface GrantRequest {
  readonly role: string;
  readonly cluster: string;
  readonly selector: string;
}

export function checkRole(role: string): Role {
  const known = ROLES.find((r) => r === role);
  if (known !== undefined) return known;
  throw invalidArgument(`role ${JSON.stringify(role.slice(0, 40))} is not one of ${ROLES.join(', ')}`);
}

export function checkGrant(g: GrantRequest | undefined): Grant {
  if (g === undefined) throw invalidArgument('which role? Give one of ' + ROLES.join(', '));
  const role = checkRole(g.role);
  if (g.cluster !== '' && g.cluster !== DEFAULT_CLUSTER)
    throw invalidArgument(
      `cluster ${JSON.stringify(g.cluster.slice(0, 80))} does not exist. There is: ${DEFAULT_CLUSTER}`,
    );
  if (g.selector.length > 1_000) throw invalidArgument('a selector is at most 1000 letters long');
  const selector = g.selector.replaceAll(/\s+/g, '');
  parseSelector(selector);
  return { role, cluster: g.cluster, selector };
}

export const sameGrant = (a: Grant, b: Grant): boolean =>
  a.role === b.role && a.cluster === b.cluster && a.selector === b.selector;

/** The grants with one more; one that is there already stays single. */
export function withGrant(grants: readonly Grant[], g: Grant): readonly Grant[] {
  if (grants.some((have) => sameGrant(have, g))) return grants;
  if (grants.length >= MOST_GRANTS) throw invalidArgument(`a user can have ${MOST_GRANTS} roles at most`);
  return [...grants, g];
}

/** "operator in cluster default on team=a" */
export const grantWords = (g: Grant): string =>
  [g.role, g.cluster && `in cluster ${g.cluster}`, g.selector && `on ${g.selector}`].filter(Boolean).join(' ');
