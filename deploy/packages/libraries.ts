/** Which npm packages a program has inside, found in the lock by following dependencies as Node does, and what their licences are. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Locked {
  readonly version?: string;
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}
export type Lock = Readonly<Record<string, Locked>>;

export interface Library {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  /** From the root of the checkout: `node_modules/a/node_modules/b`. */
  readonly path: string;
}

/** Types have no code, and what only fetches or compiles other packages at installation never runs. */
const NOT_SHIPPED = /^(@types\/|prebuild-install$|undici-types$)/;

export const readLock = (root: string): Lock =>
  (JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Lock }).packages;

/**
 * What `workspaces` depend on, and what that does. Pure.
 * @param leftOut names that are not followed: the other SQLite.
 */
export function closure(lock: Lock, workspaces: readonly string[], leftOut: readonly string[]): Library[] {
  const found = new Map<string, Library>();
  const follow = (from: string, entry: Locked | undefined) => {
    for (const name of Object.keys({ ...entry?.dependencies, ...entry?.optionalDependencies })) {
      if (name.startsWith('@berth/') || NOT_SHIPPED.test(name) || leftOut.includes(name)) continue;
      const path = resolve(lock, from, name);
      const locked = path === undefined ? undefined : lock[path];
      if (path === undefined || locked === undefined || found.has(path)) continue;
      found.set(path, { name, version: locked.version ?? '', license: locked.license ?? 'unknown', path });
      follow(path, locked);
    }
  };
  for (const workspace of workspaces) follow(workspace, lock[workspace]);
  return [...found.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** As Node looks for a package: beside the one that asks, then further up. */
function resolve(lock: Lock, from: string, name: string): string | undefined {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/')))) {
    const path = `${at === '' ? '' : `${at}/`}node_modules/${name}`;
    if (lock[path] !== undefined) return path;
    if (at === '') return undefined;
  }
}

const LICENCE_FILE = /^(licen[cs]e|copying|notice)([.-].*)?$/i;
const NO_TEXT = /\.(js|cjs|json)$/;

/** The texts that come with a library, its notices too. */
export function licenceTexts(root: string, library: Library): string[] {
  const dir = join(root, library.path);
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => LICENCE_FILE.test(name) && !NO_TEXT.test(name))
    .sort()
    .map((name) => readFileSync(join(dir, name), 'utf8').replace(/\r/g, '').trim());
}
