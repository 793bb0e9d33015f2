/**
 * Root that works on the data directory of a controller with a user of its own becomes that user first: a file of root's in
 * there would keep the controller from its start. Nothing is given away or taken here.
 */
import { statSync } from 'node:fs';

/** Does nothing for others than root, and where there is no such directory or it is root's. There is no way back. */
export function actAsOwner(dataDir: string): void {
  if (process.getuid?.() !== 0) return;
  const owner = statSync(dataDir, { throwIfNoEntry: false });
  if (owner === undefined || owner.uid === 0) return;
  process.setgroups?.([]);
  process.setgid?.(owner.gid);
  process.setuid?.(owner.uid);
}
