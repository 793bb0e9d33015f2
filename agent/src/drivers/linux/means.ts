/** The means of a real host: sysfs, procfs, and the files of its boot directory. Looks only. */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Inventory } from '@berth/shared/model/inventory.ts';
import type { Means, PagesSeen } from '../means.ts';
import { hugePageBytes, wholeNumber } from './hugepages.ts';
import { RootFiles } from './root-files.ts';

const HUGE_PAGES = '/sys/kernel/mm/hugepages';
/** State of a socket that listens, in /proc/net/tcp. */
const LISTEN = '0A';

export function createMeans(inventory: () => Promise<Inventory>, root = '/'): Means {
  const files = new RootFiles(root);
  return {
    inventory,
    hugePages: async () => Promise.all((await files.names(HUGE_PAGES)).map((name) => pages(files, name))).then(known),
    listeningPorts: async () => {
      const texts = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map((f) => files.all(f).catch(() => '')));
      return portsIn(texts.join('\n'));
    },
    whyNotBootable: (path) => whyNotBootable(join(root, path)),
  };
}

const known = (all: readonly (PagesSeen | undefined)[]): readonly PagesSeen[] => all.filter((p) => p !== undefined);

async function pages(files: RootFiles, name: string): Promise<PagesSeen | undefined> {
  const sizeBytes = hugePageBytes(name);
  if (sizeBytes === undefined) return undefined;
  const count = async (file: string): Promise<number> => wholeNumber(await files.text(`${HUGE_PAGES}/${name}/${file}`));
  const [total, free, reserved] = [
    await count('nr_hugepages'),
    await count('free_hugepages'),
    await count('resv_hugepages'),
  ];
  return { sizeBytes, total, free: Math.max(0, free - reserved) };
}

/** Of the kernel's table of sockets: `0: 0100007F:170C 00000000:0000 0A …`. */
export function portsIn(table: string): ReadonlySet<number> {
  const rows = table.split('\n').map((line) => /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) \S+ ([0-9A-F]{2}) /.exec(line));
  return new Set(rows.flatMap((row) => (row?.[2] === LISTEN ? [parseInt(row[1] as string, 16)] : [])));
}

/** Whoever can write it decides what boots, with QEMU's rights; a link could lead out of the directory. */
export async function whyNotBootable(path: string): Promise<string | undefined> {
  const file = await lstat(path).catch(() => undefined);
  if (file === undefined) return 'is not there';
  if (!file.isFile()) return 'is no regular file';
  if (file.uid !== 0) return 'does not belong to root';
  return (file.mode & 0o022) === 0 ? undefined : 'may be written by others than root';
}
