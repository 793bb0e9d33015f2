/** Users as people read them. Pure. */
import type { Grant, User } from '@berth/proto/v1/user.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { time } from '../core/words.ts';
import { fields } from '../output/render.ts';
import type { Column } from '../output/table.ts';

/** "operator on team=a" */
export const grantWords = (g: Grant): string =>
  [g.role, g.cluster && `in cluster ${g.cluster}`, g.selector && `on ${g.selector}`].filter(Boolean).join(' ');

export const grantsWords = (u: Pick<User, 'grants'>): string => u.grants.map(grantWords).join('; ');

const used = (u: User, nowMs: number): string =>
  u.lastUsedAtMs > 0n ? `${formatAge(nowMs - Number(u.lastUsedAtMs))} ago` : '-';

export const userColumns = (nowMs: number): Column<User>[] => [
  { title: 'NAME', cell: (u) => u.name },
  { title: 'KIND', cell: (u) => u.kind },
  { title: 'STATE', cell: (u) => (u.disabled ? 'disabled' : 'enabled') },
  { title: 'ROLES', cell: (u) => grantsWords(u) || '-' },
  { title: 'TOKENS', cell: (u) => String(u.tokenCount), right: true },
  { title: 'USED', cell: (u) => used(u, nowMs) },
];

export const userLines = (u: User, nowMs: number): string[] =>
  fields([
    ['name', u.name],
    ['id', u.id],
    ['kind', u.kind],
    ['state', u.disabled ? 'disabled' : 'enabled'],
    ['roles', grantsWords(u) || 'none: berth user grant ' + u.name + ' ROLE'],
    ['password', u.hasPassword ? 'set' : ''],
    ['tokens', String(u.tokenCount)],
    ['last used', used(u, nowMs)],
    ['added', time(u.createdAtMs)],
  ]);
