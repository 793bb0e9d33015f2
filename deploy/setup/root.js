/**
 * Where the checkout is, also from inside a bundle in some dist folder.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export function findRoot(from = fileURLToPath(import.meta.url)) {
  for (let dir = path.dirname(from); ; dir = path.dirname(dir)) {
    const manifest = path.join(dir, 'package.json');
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).name === 'berth') return dir;
    if (dir === path.dirname(dir)) throw new Error(`no Berth checkout above ${from}`);
  }
}

/** Logs, the guest image and the engine's pid file: everything that may be deleted and made again. */
export function stateDirectory(root = findRoot()) {
  return path.join(root, '.lab');
}
