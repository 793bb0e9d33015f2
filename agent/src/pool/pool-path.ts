/**
 * Whether a folder may become a pool: what its words say is shared/src/model/pool.ts's; this looks at the host. No link on the way,
 * nobody but root who could exchange a part of it, and nothing of the agent's own. The folder itself is not opened, because it may
 * be the mount of a server that is gone.
 */
import { lstat, readdir } from 'node:fs/promises';
import { dirname, basename } from 'node:path';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';

const codeOf = (e: unknown): string | undefined => (e as NodeJS.ErrnoException | undefined)?.code;

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;

const within = (inner: string, outer: string): boolean => inner === outer || inner.startsWith(`${outer}/`);

/** @throws INVALID_ARGUMENT. What does not exist yet is fine. */
export async function checkPoolPath(name: string, path: string, dataDir: string): Promise<void> {
  if (within(path, dataDir) || within(dataDir, path))
    throw invalidArgument(`pool ${name}: ${path} is not allowed: ${dataDir} belongs to the agent, as pool local`);
  for (let at = dirname(path); at !== '/'; at = dirname(at)) await checkParent(name, at);
  if (await isLink(path))
    throw invalidArgument(
      `pool ${name}: ${path} is a link: name the folder that it leads to, which nobody can exchange`,
    );
}

async function checkParent(name: string, path: string): Promise<void> {
  const s = await lstat(path).catch((e: unknown) => {
    if (codeOf(e) === 'ENOENT') return undefined;
    throw invalidArgument(`pool ${name}: ${path} cannot be looked at: ${codeOf(e) ?? String(e)}`);
  });
  if (s === undefined) return;
  if (s.isSymbolicLink())
    throw invalidArgument(
      `pool ${name}: ${path} is a link: name the folder that it leads to, which nobody can exchange`,
    );
  if (!s.isDirectory()) throw invalidArgument(`pool ${name}: ${path} is no folder`);
  const exchangeable = (s.mode & WRITABLE_BY_OTHERS) !== 0 && (s.mode & STICKY) === 0;
  if (s.uid !== 0 || exchangeable)
    throw invalidArgument(
      `pool ${name}: others than root may change ${path}, and so exchange what is below it. ` +
        `Give it to root (chown root ${path}; chmod go-w ${path}), or choose another place`,
    );
}

/** As its parent says, which asks no server. */
async function isLink(path: string): Promise<boolean> {
  try {
    const entries = await readdir(dirname(path), { withFileTypes: true });
    return entries.some((e) => e.name === basename(path) && e.isSymbolicLink());
  } catch (e) {
    if (codeOf(e) === 'ENOENT') return false;
    throw e;
  }
}
