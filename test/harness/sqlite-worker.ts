/** The SQLite thread, bundled from the sources for tests that run from sources. The product's bundle is deploy/build.js's. */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
let built: Promise<string> | undefined;

/** Path of the bundle, for `openState({ workerFile })`. Made once per process. */
export function sqliteWorkerFile(): Promise<string> {
  built ??= bundle();
  return built;
}

async function bundle(): Promise<string> {
  const folder = join(ROOT, 'node_modules/.cache/berth');
  mkdirSync(folder, { recursive: true });
  const target = join(folder, 'sqlite-worker.mjs');
  const mine = join(folder, `sqlite-worker-${process.pid}.mjs`);
  await build({
    entryPoints: [join(ROOT, 'controller/src/state/sqlite/worker.ts')],
    outfile: mine,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    external: ['better-sqlite3'],
    logLevel: 'silent',
  });
  renameSync(mine, target); // another test process may do the same at the same time
  if (!existsSync(target)) throw new Error(`${target} could not be built`);
  return target;
}
