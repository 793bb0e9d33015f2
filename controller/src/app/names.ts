/** Names of VMs and images: what is allowed, and finding an object by name or id. No state of its own. */
import { invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { isVersion, LATEST, splitImageName } from '@berth/shared/model/image-name.ts';
import { isId, type IdKind } from '@berth/shared/model/ids.ts';
import { isObjectName } from '@berth/shared/model/object-name.ts';
import type { NamedTable } from '../state/state.ts';

/** @throws INVALID_ARGUMENT */
export function checkName(kind: IdKind, name: string): string {
  if (name === '') throw invalidArgument(`${aOrAn(kind)} needs a name`);
  if (!isObjectName(name))
    throw invalidArgument(
      `${JSON.stringify(name.slice(0, 80))} cannot be the name of ${aOrAn(kind)}: use up to 63 small letters, digits and ` +
        `hyphens, with a letter or digit at both ends (like web-01)`,
    );
  if (isId(kind, name)) throw invalidArgument(`${name} cannot be the name of ${aOrAn(kind)}: it has the form of an id`);
  return name;
}

/** `debian`, or `debian:12.3`: a name as of a VM, and which version it is. */
export function checkImageName(ref: string): string {
  const { name, version } = splitImageName(ref);
  checkName('image', name);
  if (ref.includes(':')) checkVersion(version);
  if (version === LATEST)
    throw invalidArgument(`${ref}: ${LATEST} is no version but a tag, which the newest version has by itself`);
  return ref;
}

/** Of a version or a tag. */
export function checkVersion(version: string): string {
  if (isVersion(version)) return version;
  throw invalidArgument(
    `${JSON.stringify(version.slice(0, 80))} cannot be the version of an image: use up to 63 letters, digits, dots, hyphens ` +
      `and underscores, with a letter or digit first (like 12.3)`,
  );
}

const aOrAn = (kind: string): string => `${/^[aeio]/.test(kind) ? 'an' : 'a'} ${kind}`;

/** By id when it has the form of one, else by name. NOT_FOUND names what is spelt nearly so. */
export function resolve<V extends { readonly name: string }>(kind: IdKind, table: NamedTable<V>, nameOrId: string): V {
  if (nameOrId === '') throw invalidArgument(`which ${kind}? Give its name or its id`);
  const found = isId(kind, nameOrId) ? table.get(nameOrId) : table.byName(nameOrId);
  if (found) return found;
  const near = nearNames(table, nameOrId);
  const hint = near.length > 0 ? ` Did you mean ${near.join(' or ')}?` : ` See: berth ${kind} list`;
  throw notFound(`${kind} ${nameOrId.slice(0, 80)} does not exist.${hint}`);
}

/** So many names are compared at most: a hint is not worth a scan of a large cluster. */
const COMPARED = 5000;

function nearNames<V extends { readonly name: string }>(table: NamedTable<V>, wanted: string): readonly string[] {
  return table
    .afterName('', COMPARED)
    .map((v) => ({ name: v.name, off: distance(v.name, wanted.slice(0, 80)) }))
    .filter((n) => n.off <= Math.max(1, Math.floor(wanted.length / 4)))
    .sort((a, b) => a.off - b.off || (a.name < b.name ? -1 : 1))
    .slice(0, 3)
    .map((n) => n.name);
}

/** Levenshtein: how many letters to change, add or leave out. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
