/**
 * Who on this host uses a device: what is mounted from it or from a partition of it, what is made of it (LVM, RAID, multipath), and
 * swap. Read from /proc and /sys, where no right to open the device is needed. What another host does with it nobody here knows.
 */
import { readdir, readFile, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** In words; undefined: nobody, as far as this host knows. @param root of /proc and /sys, for tests */
export async function deviceUser(path: string, root = '/'): Promise<string | undefined> {
  const device = await realpath(path).catch(() => undefined);
  if (device === undefined) return undefined;
  const block = join(root, 'sys/class/block', basename(device));
  const entries = await list(block);
  const parts = entries.filter((e) => e.startsWith(basename(device)));
  for (const name of [basename(device), ...parts]) {
    const user = await userOf(name, root);
    if (user !== undefined) return user;
  }
  return undefined;
}

async function userOf(name: string, root: string): Promise<string | undefined> {
  const [holder] = await list(join(root, 'sys/class/block', name, 'holders'));
  if (holder !== undefined) return `/dev/${name} is part of ${await nameOf(holder, root)}`;
  const number = (await text(join(root, 'sys/class/block', name, 'dev'))).trim();
  const mounts = (await text(join(root, 'proc/self/mountinfo'))).split('\n').map((line) => line.split(' '));
  const mount = mounts.find((m) => number !== '' && m[2] === number);
  if (mount) return `/dev/${name} is mounted at ${mount[4]}`;
  const swap = (await text(join(root, 'proc/swaps'))).split('\n').some((line) => line.startsWith(`/dev/${name} `));
  return swap ? `/dev/${name} is swap` : undefined;
}

/** LVM and multipath have names that people know. */
const nameOf = async (holder: string, root: string): Promise<string> =>
  (await text(join(root, 'sys/class/block', holder, 'dm/name'))).trim() || holder;

const list = (dir: string): Promise<string[]> => readdir(dir).catch(() => []);
const text = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '');
