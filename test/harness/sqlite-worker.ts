/** Bundles of single source files for tests that need a process or thread. The product's bundles are deploy/build.js's. */
import { mkdirSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const made = new Map<string, Promise<string>>();

/** The SQLite thread, for `openState({ workerFile })`. */
export const sqliteWorkerFile = (): Promise<string> => bundled('controller/src/state/sqlite/worker.ts');

/** @param source path from the root of the repository. @returns path of the bundle, made once per process. */
export function bundled(source: string): Promise<string> {
  const known = made.get(source) ?? bundle(source);
  made.set(source, known);
  return known;
}

async function bundle(source: string): Promise<string> {
  const folder = join(ROOT, 'node_modules/.cache/berth');
  mkdirSync(folder, { recursive: true });
  const name = basename(source, '.ts');
  const mine = join(folder, `${name}-${process.pid}.mjs`);
  await build({
    entryPoints: [join(ROOT, source)],
    outfile: mine,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    external: ['better-sqlite3', 'better-sqlite3-napi'],
    logLevel: 'silent',
  });
  const target = join(folder, `${name}.mjs`);
  renameSync(mine, target); // another test process may do the same at the same moment
  return target;
}
