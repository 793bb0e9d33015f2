/**
 * Whether the network interfaces of this host are as they were, for a few reads of sysfs and procfs where `ip` would be two processes.
 * It says that something changed, not what.
 */
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';

/** More routes than fit in here are a router's: what comes after them is seen by the look that is due anyway. */
const MOST_BYTES = 65_536;

/** @param root where the files of the machine are looked for. These files are the kernel's memory: reading them does not wait. */
export function linkPrint(root = '/'): string {
  const net = join(root, 'sys/class/net');
  const links = listed(net)?.map((name) => {
    const dir = join(net, name);
    const ports = listed(join(dir, 'brif'));
    // of what is no bridge, only that it is there counts
    return ports === undefined
      ? name
      : [name, ...ports, ...['ifindex', 'flags', 'ifalias'].map((f) => text(join(dir, f)))];
  });
  // addresses are in the trie, those that have no route as well
  const tables = ['route', 'fib_trie', 'if_inet6'].map((f) => text(join(root, 'proc/net', f)));
  return JSON.stringify([links, tables]);
}

/** Undefined: there is no such folder. */
function listed(dir: string): readonly string[] | undefined {
  try {
    return readdirSync(dir).sort();
  } catch {
    return undefined;
  }
}

/** The beginning of a file; empty when it cannot be read. */
function text(path: string): string {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    const room = Buffer.allocUnsafe(MOST_BYTES);
    return room.toString('latin1', 0, readSync(fd, room, 0, MOST_BYTES, 0));
  } catch {
    return '';
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
