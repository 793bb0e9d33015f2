/**
 * `npm ci`, when node_modules is absent or belongs to another lock file; and what it needs to compile better-sqlite3.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { runOrFail } from './process.js';

/** better-sqlite3 is compiled from source. */
export const COMPILERS = [
  { package: 'python3', command: 'python3' },
  { package: 'make', command: 'make' },
  { package: 'g++', command: 'g++' },
];

/** What node_modules was installed from: the lock file, and the Node it was compiled for. Pure. */
export function dependencyStamp(lockFile, nodeAbi) {
  return createHash('sha256').update(lockFile).update(`\0abi ${nodeAbi}`).digest('hex');
}

/** With our stamp the answer is quick; without it (npm was run by hand), what is installed is compared. */
export function dependenciesFresh(root) {
  if (!existsSync(path.join(root, 'node_modules'))) return false;
  const stamp = existsSync(stampPath(root)) ? readFileSync(stampPath(root), 'utf8').trim() : undefined;
  return stamp === currentStamp(root) || adoptable(root);
}

export async function installDependencies(root, log) {
  const nodeDir = headersDirectory(process.execPath);
  // With the headers of this very Node at hand, node-gyp has nothing to download.
  const env = nodeDir === undefined ? {} : { npm_config_nodedir: nodeDir };
  // npm's own five minutes per request, three times, would be a quarter of an hour of silence without a network.
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error', '--fetch-timeout=120000', '--fetch-retries=1'];
  await runOrFail('npm ci', 'npm', args, { cwd: root, env, log });
  writeStamp(root);
}

/** Where node.h of a Node binary lies, as node-gyp's `nodedir` wants it. */
export function headersDirectory(execPath, exists = existsSync) {
  const prefix = path.dirname(path.dirname(execPath));
  return exists(path.join(prefix, 'include/node/node.h')) ? prefix : undefined;
}

function writeStamp(root) {
  try {
    writeFileSync(stampPath(root), `${currentStamp(root)}\n`);
  } catch (error) {
    // Somebody else's checkout can be used, too: the comparison is then made each time.
    if (error.code !== 'EACCES' && error.code !== 'EROFS') throw error;
  }
}

/** Whether npm's own record inside node_modules agrees with the lock file, and the native module loads in this Node. */
function adoptable(root) {
  const record = path.join(root, 'node_modules/.package-lock.json');
  if (!existsSync(record) || !loads(path.join(root, 'node_modules', sqliteFile(process.versions.node)))) return false;
  const lock = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8'));
  const installed = JSON.parse(readFileSync(record, 'utf8'));
  if (!sameVersions(lock.packages, installed.packages)) return false;
  writeStamp(root);
  return true;
}

/** What shows that SQLite can be used: Node 20 needs the release that is compiled, later ones take one that is not. Pure. */
export function sqliteFile(nodeVersion) {
  const compiled = 'better-sqlite3/build/Release/better_sqlite3.node';
  return Number(nodeVersion.split('.')[0]) >= 22 ? 'better-sqlite3-napi/package.json' : compiled;
}

function loads(nativeModule) {
  try {
    createRequire(import.meta.url)(nativeModule);
    return true;
  } catch {
    return false;
  }
}

/** Whether everything npm recorded as installed is what the lock file asks for, and nothing required is missing. Pure. */
export function sameVersions(wanted, installed) {
  for (const [name, entry] of Object.entries(wanted)) {
    if (name === '' || entry.link || entry.optional || entry.peer || !name.startsWith('node_modules/')) continue;
    if (installed[name]?.version !== entry.version) return false;
  }
  return true;
}

function currentStamp(root) {
  return dependencyStamp(readFileSync(path.join(root, 'package-lock.json')), process.versions.modules);
}

function stampPath(root) {
  return path.join(root, 'node_modules/.berth-stamp');
}
