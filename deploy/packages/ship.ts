/** Which files of an npm package are shipped: code, data and licences; neither types, maps, sources nor what only compiles. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Library } from './libraries.ts';
import type { Tree } from './tree.ts';

const SHIPPED = /(\.(js|cjs|mjs|json|proto|node)|^licen[cs]e.*|^notice.*)$/i;
/** Of better-sqlite3: SQLite's source, and what its compiler leaves. Only by whole paths: elsewhere such names are code. */
const LEFT_OUT = new Set([
  'deps',
  'build/deps',
  'build/Release/obj',
  'build/Release/obj.target',
  'build/Release/.deps',
]);
const NOT_NEEDED = new Set(['test_extension.node']);

/** @param dir where `node_modules` shall be, from `/`. */
export function copyLibrary(root: string, library: Library, tree: Tree, dir: string): void {
  for (const file of shippedFiles(join(root, library.path)))
    tree.copy(join(root, library.path, file), `${dir}/${library.path}/${file}`);
}

/** Relative paths, sorted; packages inside the package are libraries of their own. */
export function shippedFiles(dir: string, inside = ''): string[] {
  return readdirSync(join(dir, inside), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = inside === '' ? entry.name : `${inside}/${entry.name}`;
      if (entry.isDirectory())
        return entry.name === 'node_modules' || LEFT_OUT.has(path) ? [] : shippedFiles(dir, path);
      return entry.isFile() && SHIPPED.test(entry.name) && !NOT_NEEDED.has(entry.name) ? [path] : [];
    });
}
