/**
 * The appliance that guestfish boots: a kernel of this host and a small root file system of its own packages, made by supermin as the
 * unprivileged user, once, and again when packages or kernels have changed. Takes seconds to make and about 400 MB in the pool.
 */
import { createHash } from 'node:crypto';
import { chmod, chown, copyFile, lstat, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { dirname, join } from 'node:path';
import { ClusterError, unsupported } from '@berth/shared/errors/cluster-error.ts';
import { PACKAGES } from '../packages.ts';
import { sizeOf, syncDir, syncFile, tellingFull } from '../disks/files.ts';
import type { Pool } from '../disks/pool.ts';
import { requireRoom } from '../disks/space.ts';
import type { Exec } from '../exec.ts';
import { systemdRuns } from '../outside.ts';
import { takeFile, takeFolder } from '../take-file.ts';

export interface Appliances {
  /** Words that say what to install; undefined when an appliance can be made. */
  whyNot(): Promise<string | undefined>;
  /** Its folder, made if need be. @throws UNSUPPORTED, DISK_FULL */
  get(signal: AbortSignal): Promise<string>;
}

const RECIPES = [
  `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/guestfs/supermin.d`,
  '/usr/lib64/guestfs/supermin.d',
  '/usr/lib/guestfs/supermin.d',
];
const BIN = ['/usr/local/bin', '/usr/bin', '/bin'];
/** What changes when packages do. */
const DATABASES = ['/var/lib/dpkg/status', '/var/lib/rpm/rpmdb.sqlite', '/usr/lib/sysimage/rpm/rpmdb.sqlite'];
const CPU = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
const MAKE_MS = 15 * 60_000;
/** supermin makes a sparse root of 4 GiB. */
const MAX_FILE_BYTES = 5 * 2 ** 30;
const NEEDED_BYTES = 600 * 2 ** 20;

interface Parts {
  readonly recipe: string;
  readonly kernel: string;
  readonly version: string;
}

export function createAppliances({ exec, pool }: { readonly exec: Exec; readonly pool: Pool }): Appliances {
  let making: Promise<unknown> = Promise.resolve();
  return {
    async whyNot() {
      const found = await findParts();
      return typeof found === 'string' ? found : undefined;
    },
    get(signal) {
      const got = making.then(async () => {
        const parts = await findParts();
        if (typeof parts === 'string') throw unsupported(parts);
        const dir = join(pool.applianceDir, await keyOf(parts));
        if (await isWholeAppliance(dir)) return dir;
        await make(exec, pool, parts, dir, signal);
        return dir;
      });
      // one at a time; who comes next looks anew
      making = got.catch(() => undefined);
      return got;
    },
  };
}

/** What is there, or what is missing, in words. */
export async function findParts(root = '/'): Promise<Parts | string> {
  const missing: string[] = [];
  for (const program of ['guestfish', 'supermin'])
    if (!(await first(BIN.map((dir) => join(root, dir, program))))) missing.push(program);
  if (missing.length > 0) {
    const packages = missing.map((m) => PACKAGES[m] ?? m).join(' ');
    return `${missing.join(' and ')} ${missing.length > 1 ? 'are' : 'is'} not installed on this host: apt-get install --no-install-recommends ${packages}`;
  }
  const recipe = await first(RECIPES.map((p) => join(root, p)));
  if (recipe === undefined)
    return 'libguestfs has no appliance on this host: apt-get install --no-install-recommends libguestfs0';
  const kernel = await findKernel(root);
  if (kernel === undefined)
    return 'there is no kernel with its modules on this host, which changes to guests are made with: apt-get install linux-image-amd64';
  return { recipe, ...kernel };
}

async function first(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await sizeOf(path)) return path;
  return undefined;
}

/** The one that runs, otherwise the newest. The agent's own unit hides modules from it; then kernels alone are looked at. */
async function findKernel(root: string): Promise<Pick<Parts, 'kernel' | 'version'> | undefined> {
  const boot = join(root, 'boot');
  const modules = await readdir(join(root, 'lib/modules')).catch((): string[] => []);
  const versions = (await readdir(boot).catch((): string[] => [])).flatMap(
    (name) => /^vmlinuz-(\d.*)$/.exec(name)?.[1] ?? [],
  );
  const newest = versions.sort((x, y) => y.localeCompare(x, 'en', { numeric: true }));
  const usable = [release(), ...newest].filter(
    (v) => newest.includes(v) && (modules.length === 0 || modules.includes(v)),
  );
  const [version] = usable;
  return version === undefined ? undefined : { kernel: join(boot, `vmlinuz-${version}`), version };
}

async function keyOf({ recipe, kernel, version }: Parts): Promise<string> {
  const files = [...(await readdir(recipe)).sort().map((n) => join(recipe, n)), kernel, ...DATABASES];
  const hash = createHash('sha256').update(version);
  for (const file of files) {
    const s = await sizeOf(file);
    if (s) hash.update(`\0${file}\0${s.size}\0${s.mtimeMs}`);
  }
  return hash.digest('hex').slice(0, 16);
}

/** In a folder that the unprivileged user may write to; root's from then on. */
async function make(exec: Exec, pool: Pool, parts: Parts, dir: string, signal: AbortSignal): Promise<void> {
  await requireRoom(pool.dataDir, NEEDED_BYTES, 'the appliance that changes guests');
  const work = pool.stagingPath('appliance');
  const user = await exec.sandboxUser();
  try {
    await tellingFull('the appliance', pool.stagingDir, async () => {
      await rm(work, { recursive: true, force: true });
      await mkdir(work, { mode: 0o700 });
      // some distributions let root alone read their kernels
      await copyFile(parts.kernel, join(work, 'vmlinuz'));
      await chown(join(work, 'vmlinuz'), user.uid, user.gid);
      await chown(work, user.uid, user.gid);
    });
    await supermin(exec, parts, work, signal);
    await installAppliance(join(work, 'made'), dir);
    await forgetOthers(pool, dir);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function supermin(exec: Exec, { recipe, version }: Parts, work: string, signal: AbortSignal): Promise<void> {
  const args = ['--build', '--copy-kernel', '-f', 'ext2', '--host-cpu', CPU, recipe, '-o', join(work, 'made')];
  const limits = { fileBytes: MAX_FILE_BYTES };
  const what = 'making the appliance that changes guests';
  const env = {
    HOME: work,
    TMPDIR: work,
    SUPERMIN_KERNEL: join(work, 'vmlinuz'),
    SUPERMIN_KERNEL_VERSION: version,
    SUPERMIN_MODULES: `/lib/modules/${version}`,
  };
  const options = { signal, timeoutMs: MAKE_MS, what };
  if (!systemdRuns()) {
    await exec.runConfined('supermin', args, { ...options, env, limits });
    return;
  }
  // the agent's unit has no modules (ProtectKernelModules), so it is made in a unit of its own, as confined as here
  const unit = unitArgs(work, env, await exec.confinedCommand('supermin', args, limits));
  await exec.run('systemd-run', unit, options);
}

const unitArgs = (work: string, env: Readonly<Record<string, string>>, argv: readonly string[]): string[] => [
  ...['--quiet', '--collect', '--wait', '--pipe', '--description=Berth makes the appliance that changes guests'],
  ...Object.entries(env).map(([key, value]) => `--setenv=${key}=${value}`),
  ...[
    'ProtectSystem=strict',
    `ReadWritePaths="${work}"`,
    'PrivateDevices=yes',
    'NoNewPrivileges=yes',
    'UMask=0022',
  ].flatMap((p) => ['-p', p]),
  ...['-p', `RuntimeMaxSec=${MAKE_MS / 1_000}`, '--', ...argv],
];

/** An empty word is what a power cut left of it. */
export const isWholeAppliance = async (dir: string): Promise<boolean> =>
  ((await sizeOf(join(dir, 'README.fixed')))?.size ?? 0) > 0;

/** The last file says to libguestfs, and to us, that it is whole. */
export async function installAppliance(made: string, dir: string): Promise<void> {
  // the folder above is the unprivileged user's, too, so that it could exchange this one
  await takeFolder(dirname(made));
  if (!(await lstat(made)).isDirectory()) throw new ClusterError('INTERNAL', `${made} is no folder; it is not used`);
  for (const name of ['kernel', 'initrd', 'root']) {
    await takeFile(join(made, name), 0o444);
    await syncFile(join(made, name));
  }
  const readme = join(made, 'README.fixed');
  await writeFile(readme, 'Made by Berth of the packages of this host.\n', { mode: 0o444, flag: 'wx' });
  await syncFile(readme);
  await syncDir(made);
  await chmod(made, 0o755);
  await rm(dir, { recursive: true, force: true });
  await rename(made, dir);
  await syncDir(join(dir, '..'));
}

/** One that is being used stays open until its user ends. */
async function forgetOthers(pool: Pool, dir: string): Promise<void> {
  for (const name of await readdir(pool.applianceDir)) {
    const other = join(pool.applianceDir, name);
    if (other !== dir && (await stat(other)).isDirectory()) await rm(other, { recursive: true, force: true });
  }
}
