/**
 * Builds the lab's Debian guest, a real systemd with cloud-init, its storage guest, and the machine that packages are tried on, each
 * once per recipe: the tree by mmdebstrap, the disk in a container of the host image. For tests alone; each takes a minute or two and
 * 300 to 900 MB of `.lab`.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { runContainer } from '../setup/docker-api.js';
import { SetupError, lastWords, runOrFail } from '../setup/process.js';
import { findRoot } from '../setup/root.js';
import { ownMirrors } from './host-image.js';
import {
  debianArguments,
  debianImagePath,
  hostImageTag,
  installArguments,
  installGuestPath,
  storageArguments,
  storageGuestPath,
} from './recipe.js';

export function debianImageExists() {
  return existsSync(debianImagePath());
}

export function storageGuestExists() {
  return existsSync(path.join(storageGuestPath(), 'disk.qcow2'));
}

/** Answers the path of the qcow2. Two at once make it twice, and the later one stays. */
export async function buildDebianImage(socketPath) {
  const target = debianImagePath();
  return buildGuest(socketPath, { target, kind: 'debian', arguments: debianArguments, out: '/out/debian.qcow2' });
}

/** Answers its folder. */
export async function buildStorageGuest(socketPath) {
  const target = path.join(storageGuestPath(), 'disk.qcow2');
  await buildGuest(socketPath, { target, kind: 'storage', arguments: storageArguments, out: '/out' });
  return path.dirname(target);
}

export function installGuestExists() {
  return existsSync(path.join(installGuestPath(), 'disk.qcow2'));
}

/** Answers its folder. */
export async function buildInstallGuest(socketPath) {
  const target = path.join(installGuestPath(), 'disk.qcow2');
  await buildGuest(socketPath, { target, kind: 'install', arguments: installArguments, out: '/out' });
  return path.dirname(target);
}

/** @param out what its build.sh is told beside the tree: where to. */
async function buildGuest(socketPath, { target, kind, out, ...recipe }) {
  const dir = path.dirname(target);
  mkdirSync(dir, { recursive: true });
  const tree = path.join(dir, `tree-${process.pid}.tar`);
  try {
    await runOrFail('mmdebstrap', 'mmdebstrap', recipe.arguments(tree, await ownMirrors()));
    const { code, output } = await runContainer(socketPath, {
      Image: hostImageTag(),
      Labels: { 'berth.lab': 'guest-image' },
      Entrypoint: ['/bin/sh', `/opt/berth/deploy/lab/${kind}/build.sh`, `/out/${path.basename(tree)}`, out],
      Cmd: [],
      NetworkDisabled: true,
      HostConfig: { Binds: [`${findRoot()}:/opt/berth:ro`, `${dir}:/out`] },
    });
    if (code !== 0 || !existsSync(target))
      throw new SetupError(`the ${kind} guest cannot be built: ${lastWords(output)}`);
  } finally {
    rmSync(tree, { force: true });
  }
  removeOlder(dir, kind);
  return target;
}

function removeOlder(current, kind) {
  const parent = path.dirname(current);
  for (const name of readdirSync(parent))
    if (name.startsWith(`${kind}-`) && /-[0-9a-f]{12}$/.test(name) && name !== path.basename(current))
      rmSync(path.join(parent, name), { recursive: true });
}
