/**
 * Whether a folder may become a pool: what its words say is shared/src/model/pool.ts's; this looks at the host. No link on the way,
 * nobody but root who could exchange a part of it, and nothing of the agent's own. The folder itself is not opened, because it may
 * be the mount of a server that is gone; whose it is, is looked at when the pool has been started. Who owns it can put a link in a
 * disk's place, which libvirt follows as root.
 */
import { lstat, readdir, stat } from 'node:fs/promises';
import { dirname, basename } from 'node:path';
import { invalidArgument, type ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { isOnServer } from '../drivers/file-servers.ts';

const codeOf = (e: unknown): string | undefined => (e as NodeJS.ErrnoException | undefined)?.code;

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
/** What systemd puts in the place of what a unit is not to see lets nobody do anything. */
const ANYTHING = 0o777;

/** Below it are accounts of programs; people log in with others. */
const FIRST_PERSON = 1_000;
/** Its disks are open to QEMU in any case. */
const OF_QEMU = '/var/lib/libvirt/qemu';

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
  if ((s.mode & ANYTHING) === 0) throw hidden(name, path);
  const exchangeable = (s.mode & WRITABLE_BY_OTHERS) !== 0 && (s.mode & STICKY) === 0;
  if (s.uid !== 0 || exchangeable)
    throw invalidArgument(
      `pool ${name}: others than root may change ${path}, and so exchange what is below it. ` +
        `Give it to root (chown root ${path}; chmod go-w ${path}), or choose another place`,
    );
}

/** libvirt would see it: its disks would be out of the agent's sight only. */
const hidden = (name: string, path: string): ClusterError =>
  invalidArgument(
    `pool ${name}: ${path} is hidden from the agent (by its unit: ProtectHome). Choose another place, as below /srv; or let the agent ` +
      `see it: systemctl edit berth-agent, there [Service] and ProtectHome=read-only, then systemctl restart berth-agent`,
  );

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

interface Folder {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly ofServer: boolean;
  readonly qemuUid: number;
}

/**
 * Of a pool that is up. Fine are folders of root and of QEMU's account; on a file server also those of any other account of a program
 * (what `anonuid` makes of root), because the server may not let root in. Nobody else may write there, unless what is not one's own
 * cannot be exchanged (the sticky bit). @throws INVALID_ARGUMENT
 */
export async function checkPoolFolder(name: string, path: string): Promise<void> {
  const s = await lstat(path).catch(() => undefined);
  // libvirt has said that it is there: a server that lets not even root look
  if (s === undefined) return;
  if (!s.isDirectory()) throw invalidArgument(`pool ${name}: ${path} is no folder`);
  const ofServer = await isOnServer(path);
  const qemuUid = (await stat(OF_QEMU).catch(() => undefined))?.uid ?? 0;
  const why = whyNotOurs({ uid: s.uid, gid: s.gid, mode: s.mode, ofServer, qemuUid });
  if (why !== undefined) throw invalidArgument(`pool ${name}: ${path} ${why}`);
}

/** Pure. */
export function whyNotOurs({ uid, gid, mode, ofServer, qemuUid }: Folder): string | undefined {
  const isProgram = uid < FIRST_PERSON;
  const where = ofServer ? 'on its server' : 'here';
  if (uid !== 0 && uid !== qemuUid && !(ofServer && isProgram))
    return (
      `belongs to uid ${uid}, who could put other files in the place of disks. Give it to root ${where} (chown root)` +
      (ofServer
        ? ', or export it with no_root_squash, or with anonuid=N of an account of its own, and chown it to that'
        : '')
    );
  const others = (mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && gid !== 0 && !(ofServer && gid < FIRST_PERSON));
  if (others && (mode & STICKY) === 0)
    return `can be written to by others than its owner, who could put other files in the place of disks: chmod go-w, or chmod +t, ${where}`;
  return undefined;
}
