/**
 * Installs Debian packages that are missing, without questions. It never upgrades or removes what a machine already has.
 */
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SetupError, lastWords, run } from './process.js';

const QUIET = { DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_MODE: 'a' };
const LOCKED = /could not get lock|unable to lock|is another process using it/i;
const STALE = /unable to locate package|has no installation candidate|404 +not found|unable to fetch/i;
/** Daemons live in sbin, which is not in everybody's PATH. */
const SYSTEM_DIRS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/**
 * Which of `tools` ({ package, command }, or { package, file } for what is no command) are missing: judged by the command,
 * so another distribution's package counts.
 */
export function missingTools(tools, searchPath, isExecutable = canExecute, exists = existsSync) {
  const dirs = [...searchPath.split(':').filter((dir) => dir !== ''), ...SYSTEM_DIRS];
  const has = ({ command, file }) =>
    file === undefined ? dirs.some((dir) => isExecutable(path.join(dir, command))) : exists(file);
  return tools.filter((tool) => !has(tool));
}

/** Installs `packages`; refreshes the package lists only if there are none or they are too old to serve. */
export async function installPackages(packages, log) {
  if (packages.length === 0) return;
  if (process.getuid?.() !== 0)
    throw new SetupError(`${packages.join(' ')} missing, and only root can install packages`);
  if (!hasLists()) await refresh(log);
  let result = await apt(installArguments(packages), log);
  if (result.code !== 0 && STALE.test(result.stderr + result.stdout)) {
    await refresh(log);
    result = await apt(installArguments(packages), log);
  }
  if (result.code !== 0)
    throw new SetupError(`apt-get install ${packages.join(' ')} failed: ${lastWords(result.stderr || result.stdout)}`);
}

/** Pure. */
export function installArguments(packages) {
  return ['install', '-y', '-q', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', ...packages];
}

async function refresh(log) {
  const result = await apt(['update', '-q'], log);
  if (result.code !== 0) throw new SetupError(`apt-get update failed: ${lastWords(result.stderr || result.stdout)}`);
}

/** Another apt (unattended-upgrades on a fresh machine) may hold the lock of the lists, for which apt does not wait. */
async function apt(args, log) {
  for (let attempt = 1; ; attempt++) {
    const result = await run('apt-get', args, { env: QUIET, log });
    if (result.code === 0 || attempt === 60 || !LOCKED.test(result.stderr)) return result;
    await sleep(2000);
  }
}

function hasLists() {
  try {
    return readdirSync('/var/lib/apt/lists').some((name) => name.includes('_Packages'));
  } catch {
    return false;
  }
}

function canExecute(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
