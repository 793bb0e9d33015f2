/**
 * Whether the network interfaces of this host are as they were, for a few reads of sysfs and procfs where `ip` would be two processes.
 * It says that something changed, not what.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { kernelText } from './kernel-text.ts';
import { OF_GUESTS } from './load-texts.ts';

/**
 * More routes than `kernelText` reads are a router's: what comes after them is seen by the look that is due anyway.
 * @param root where the files of the machine are looked for
 */
export function linkPrint(root = '/'): string {
  const net = join(root, 'sys/class/net');
  const links = listed(net)?.map((name) => {
    // of what is no bridge, only that it is there counts
    if (OF_GUESTS.test(name)) return name;
    const dir = join(net, name);
    const ports = listed(join(dir, 'brif'));
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

const text = (path: string): string => kernelText(path) ?? '';
