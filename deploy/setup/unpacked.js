/**
 * Programs of Debian packages that only tests and benches run, unpacked below .lab and not installed: installing Prometheus would
 * start a daemon on the machine of whoever runs the tests, and bring a dozen libraries for its web pages.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { SetupError, lastWords, run, runOrFail } from './process.js';
import { stateDirectory } from './root.js';

const TOOLS = 'tools';

/** Where a program of a package is, or would be. */
export function unpackedTool(packageName, program, root) {
  return path.join(stateDirectory(root), TOOLS, packageName, 'usr/bin', program);
}

/** Makes it so. Twice is once, and two at once don't meet. */
export async function unpackPackage(packageName, root, log) {
  const dir = path.join(stateDirectory(root), TOOLS);
  const wanted = path.join(dir, packageName);
  if (existsSync(wanted)) return;
  mkdirSync(dir, { recursive: true });
  const own = mkdtempSync(path.join(dir, '.new-'));
  try {
    await download(packageName, own, log);
    const file = readdirSync(own).find((name) => name.endsWith('.deb'));
    await runOrFail(`unpacking ${packageName}`, 'dpkg-deb', ['-x', path.join(own, file), path.join(own, 'tree')], {
      log,
    });
    renameSync(path.join(own, 'tree'), wanted);
  } catch (error) {
    if (!existsSync(wanted)) throw error;
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

/** The lists of packages may be missing, or too old to serve. */
async function download(packageName, cwd, log) {
  const get = () => run('apt-get', ['download', '-q', packageName], { cwd, log });
  let result = await get();
  if (result.code !== 0) {
    await run('apt-get', ['update', '-q'], { log });
    result = await get();
  }
  if (result.code !== 0)
    throw new SetupError(`apt-get download ${packageName} failed: ${lastWords(result.stderr || result.stdout)}`);
}
