/**
 * Whether a host knows its own name and those of the others. Asks the host's resolver (getent) as every other program there
 * would, and judges what it says.
 */
import type { HostCheck } from '@berth/shared/model/host.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Exec } from './exec.ts';

/** What the resolver says of a name; no addresses: not known. */
export interface NameSeen {
  readonly name: string;
  /** Its full name, as far as the resolver knows one. */
  readonly canonical: string;
  readonly addresses: readonly string[];
}

export const MOST_NAMES = 32;
const NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}[A-Za-z0-9])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}[A-Za-z0-9])?)*\.?$/;
/** A resolver asks each of its servers for some seconds. */
const LOOKUP_MS = 6_000;

/** @throws INVALID_ARGUMENT for what is no host name, or too many of them. */
export function checkNames(names: readonly string[]): readonly string[] {
  if (names.length > MOST_NAMES)
    throw invalidArgument(`${names.length} names are too many at once: at most ${MOST_NAMES}`);
  for (const name of names)
    if (!NAME.test(name)) throw invalidArgument(`${JSON.stringify(name.slice(0, 80))} is not the name of a host`);
  return names;
}

/** First line of each address of `getent ahosts`: address, kind of socket, and on the first line the full name. */
export function parseAhosts(name: string, text: string): NameSeen {
  const lines = text.split('\n', 256).map((l) => l.trim().split(/\s+/));
  const addresses = [...new Set(lines.map(([address = '']) => address))].filter((a) => /^[0-9a-zA-Z.:%]+$/.test(a));
  return { name, canonical: lines[0]?.[2] ?? '', addresses };
}

export async function lookUp(exec: Pick<Exec, 'run'>, name: string): Promise<NameSeen> {
  const { stdout } = await exec
    .run('getent', ['ahosts', name], { timeoutMs: LOOKUP_MS, okCodes: [2] })
    .catch(() => ({ stdout: '' }));
  return parseAhosts(name, stdout);
}

export const judgeNames = (own: NameSeen, others: readonly NameSeen[]): HostCheck[] => [
  ownName(own),
  otherNames(others),
];

function ownName({ name, canonical, addresses }: NameSeen): HostCheck {
  const check = { name: 'own-name', fatal: false };
  if (addresses.length === 0)
    return {
      ...check,
      ok: false,
      detail: `this host does not know its own name ${name}: give it to your DNS, or to /etc/hosts here`,
    };
  const full = canonical.includes('.') ? canonical : name;
  const bare = full.includes('.') ? '' : ', a name without a domain';
  const here = addresses.every((a) => /^(127\.|::1$)/.test(a)) ? ', which only this host can reach' : '';
  return { ...check, ok: true, detail: `${full} is ${addresses.slice(0, 4).join(', ')}${here}${bare}` };
}

function otherNames(others: readonly NameSeen[]): HostCheck {
  const check = { name: 'other-names', fatal: false };
  if (others.length === 0) return { ...check, ok: true, detail: 'the other hosts are known by their addresses' };
  const unknown = others.filter((o) => o.addresses.length === 0).map((o) => o.name);
  if (unknown.length === 0)
    return {
      ...check,
      ok: true,
      detail: `${others.length === 1 ? 'the name of the other host is' : `the names of ${others.length} other hosts are`} known`,
    };
  const more = unknown.length > 5 ? ` and ${unknown.length - 5} more` : '';
  return {
    ...check,
    ok: false,
    detail: `not known here: ${unknown.slice(0, 5).join(', ')}${more}; give them to your DNS, or to /etc/hosts here`,
  };
}
