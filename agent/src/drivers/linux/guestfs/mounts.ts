/** Finds the one Linux system on a disk and mounts it as its own fstab says. Inside the appliance alone. */
import { badState, isClusterError, unsupported } from '@berth/shared/errors/cluster-error.ts';
import { quote, type Guestfish } from './guestfish.ts';
import { readGuest } from './read-guest.ts';

const FSTAB = '/etc/fstab';
const LINUX = /^(ext[234]|xfs|btrfs|f2fs)$/;
/** What files of ours may lie below. */
const MOUNTED = ['/boot', '/boot/efi', '/usr', '/var', '/var/log', '/home', '/root', '/tmp'];

/** @throws UNSUPPORTED: none, or several; BAD_STATE: its file system is broken. */
export async function mountGuest(fish: Guestfish): Promise<void> {
  const found = await fileSystems(fish);
  const roots: string[] = [];
  for (const { device, type } of found) if (LINUX.test(type) && (await isRoot(fish, device))) roots.push(device);
  const root = onlyOne(roots, found);
  await mounting(root, () => fish.ask(`mount ${quote(root)} /`));
  const fstab = (await readGuest(fish, [{ path: FSTAB, text: true }])).get(FSTAB);
  for (const { spec, point, options } of readFstab((fstab && 'text' in fstab && fstab.text) || '')) {
    const device = await resolve(fish, spec);
    if (device !== undefined) await fish.ask(`-mount-options ${quote(options)} ${quote(device)} ${quote(point)}`);
  }
}

interface FileSystem {
  readonly device: string;
  readonly type: string;
}

async function fileSystems(fish: Guestfish): Promise<FileSystem[]> {
  const lines = await fish.lines('list-filesystems');
  return lines.flatMap((line) => {
    const m = /^(\S+): (\S+)$/.exec(line.trim());
    return m ? [{ device: m[1]!, type: m[2]! }] : [];
  });
}

async function isRoot(fish: Guestfish, device: string): Promise<boolean> {
  const tests = [
    'is-dir /etc',
    'exists /etc/passwd',
    'exists /etc/os-release',
    'exists /etc/fstab',
    'exists /bin',
    'exists /usr/bin',
  ];
  const answers = await fish.ask(`-mount-ro ${quote(device)} /`, ...tests.map((t) => `-${t}`), '-umount-all');
  const [etc, passwd, release, fstab, bin, usr] = answers
    .toString('utf8')
    .split('\n')
    .map((l) => l === 'true');
  return etc === true && (passwd || release || fstab) === true && (bin || usr) === true;
}

function onlyOne(roots: readonly string[], found: readonly FileSystem[]): string {
  // a subvolume that is mounted by default is found under both names
  const plain = roots.filter((r) => !r.startsWith('btrfsvol:'));
  const [first, second] = plain.length > 0 ? plain : roots;
  if (first !== undefined && second === undefined) return first;
  if (second !== undefined)
    throw unsupported(
      `the disk has several systems on it (${roots.slice(0, 4).join(', ')}): which is meant can't be told`,
    );
  const types = new Set(found.map((f) => f.type));
  if (types.has('crypto_LUKS'))
    throw unsupported("the guest's disk is encrypted, so nothing can be changed on it from outside");
  if (types.has('ntfs'))
    throw unsupported('the disk has a Windows system on it; only Linux guests can be changed from outside');
  const seen = found
    .map((f) => f.type)
    .filter((t) => t !== 'unknown')
    .slice(0, 8);
  throw unsupported(
    `no Linux system was found on the disk (${seen.length === 0 ? 'it has no file system' : `file systems: ${seen.join(', ')}`})`,
  );
}

async function mounting(device: string, mount: () => Promise<unknown>): Promise<void> {
  try {
    await mount();
  } catch (e) {
    if (!isClusterError(e, 'INTERNAL')) throw e;
    throw badState(
      `the file system of the guest (${device}) can't be mounted: it is broken. Boot the guest, or repair it, first`,
    );
  }
}

interface Mount {
  readonly spec: string;
  readonly point: string;
  readonly options: string;
}

/** Those that are wanted, the outer ones first. Of their options only the subvolume counts here. */
export function readFstab(text: string): Mount[] {
  const all = text.split('\n').flatMap((line) => {
    const [spec = '', point = '', , options = ''] = line.replace(/#.*/, '').trim().split(/\s+/);
    const path = point.replace(/(.)\/+$/, '$1');
    if (spec === '' || !MOUNTED.includes(path)) return [];
    const subvolume = /(?:^|,)(subvol=[\w@/.-]+)/.exec(options)?.[1];
    return [{ spec, point: path, options: subvolume ?? '' }];
  });
  return all.sort((a, b) => (a.point < b.point ? -1 : 1));
}

/** What a guest calls a device is not what the appliance calls it. */
async function resolve(fish: Guestfish, spec: string): Promise<string | undefined> {
  const by = /^(?:(UUID|LABEL)=|\/dev\/disk\/by-(uuid|label)\/)"?([\w.:@ -]+)"?$/.exec(spec);
  if (by) return (await fish.lines(`-findfs-${(by[1] ?? by[2] ?? '').toLowerCase()} ${quote(by[3]!)}`))[0];
  const disk = /^\/dev\/(?:[hsv]|xv)d([a-z]\d+)$/.exec(spec);
  if (disk) return `/dev/sd${disk[1]}`;
  return /^\/dev\/[\w./+-]+$/.test(spec) ? spec : undefined;
}
