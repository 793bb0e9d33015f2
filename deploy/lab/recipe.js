/**
 * What the host image and the guest image are made of, as hashes and argument lists. Pure apart from reading the recipe's
 * own files; nothing is built here.
 */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { findRoot, stateDirectory } from '../setup/root.js';

export const HOST_IMAGE = 'berth-lab-host';
export const CEPH_IMAGE = 'berth-lab-ceph';
const SUITE = 'bookworm';
const GUEST_PACKAGES_DIR = '/usr/share/berth-guest';

/** What Docker is told about the image. The boot script comes from the mounted checkout, so changing it needs no new image. */
export const IMAGE_CHANGES = ['ENTRYPOINT ["/usr/bin/tini","--","/opt/berth/deploy/lab/host/entrypoint.sh"]'];

export const CEPH_CHANGES = ['ENTRYPOINT ["/usr/bin/tini","--"]'];

/** Names in a list file, without comments and empty lines. Pure. */
export function readNames(text) {
  return text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
}

/** Short, stable name for a set of named texts. Pure. */
export function recipeHash(parts) {
  const hash = createHash('sha256');
  for (const [name, content] of Object.entries(parts).sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`${name}\0${content.length}\0`).update(content).update('\0');
  return hash.digest('hex').slice(0, 12);
}

export function hostImageTag() {
  return `${HOST_IMAGE}:${recipeHash({ arguments: mmdebstrapArguments().join('\n'), changes: IMAGE_CHANGES.join('\n') })}`;
}

export function cephImageTag() {
  return `${CEPH_IMAGE}:${recipeHash({ arguments: cephArguments().join('\n'), changes: CEPH_CHANGES.join('\n') })}`;
}

/** mmdebstrap's arguments for a server of Ceph; the tar goes to its standard output. */
export function cephArguments(mirrors = []) {
  const packages = readNames(readFileSync(path.join(labDirectory(), 'ceph/packages.txt'), 'utf8'));
  return [
    ...['--variant=minbase', '--quiet', `--include=${packages.join(',')}`, ...pathsLeftOut()],
    ...['--aptopt=Apt::Install-Recommends "false"', SUITE, '-', ...mirrors],
  ];
}

/** The guest image lies beside the checkout, named after everything that went into it. */
export function guestImagePath() {
  const dir = path.join(labDirectory(), 'guest');
  const files = Object.fromEntries(
    readdirSync(dir).map((name) => [name, readFileSync(path.join(dir, name), 'latin1')]),
  );
  return path.join(stateDirectory(), `guest-${recipeHash({ ...files, host: hostImageTag() })}`, 'base.qcow2');
}

/** The Debian guest lies beside it, named in the same way. */
export function debianImagePath() {
  const texts = ['debian', 'guest'].flatMap((dir) =>
    readdirSync(path.join(labDirectory(), dir)).map((name) => [
      `${dir}/${name}`,
      readFileSync(path.join(labDirectory(), dir, name), 'latin1'),
    ]),
  );
  const arguments_ = debianArguments('tree').join('\n');
  const hash = recipeHash({ ...Object.fromEntries(texts), arguments: arguments_, host: hostImageTag() });
  return path.join(stateDirectory(), `debian-${hash}`, 'debian.qcow2');
}

/** The folder of the storage guest: kernel, initrd and disk. */
export function storageGuestPath() {
  return machinePath('storage', storageArguments('tree'));
}

/** The folder of the machine that packages are tried on: the same. */
export function installGuestPath() {
  return machinePath('install', installArguments('tree'));
}

function machinePath(kind, treeArguments) {
  const dir = path.join(labDirectory(), kind);
  const names = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const texts = names.map(({ parentPath, name }) => [name, readFileSync(path.join(parentPath, name), 'latin1')]);
  const arguments_ = treeArguments.join('\n');
  const hash = recipeHash({ ...Object.fromEntries(texts), arguments: arguments_, host: hostImageTag() });
  return path.join(stateDirectory(), `${kind}-${hash}`);
}

/** mmdebstrap's arguments for the storage guest's tree, a tar at `out`. */
export function storageArguments(out, mirrors = []) {
  return treeArguments('storage', out, mirrors);
}

/** The same for the machine that packages are tried on. */
export function installArguments(out, mirrors = []) {
  return treeArguments('install', out, mirrors);
}

/** The same for the Debian guest. */
export function debianArguments(out, mirrors = []) {
  return treeArguments('debian', out, mirrors);
}

function treeArguments(kind, out, mirrors) {
  const packages = readNames(readFileSync(path.join(labDirectory(), kind, 'packages.txt'), 'utf8'));
  return [
    ...['--variant=minbase', '--quiet', `--include=${packages.join(',')}`, ...pathsLeftOut()],
    ...['--aptopt=Apt::Install-Recommends "false"', SUITE, out, ...mirrors],
  ];
}

/** mmdebstrap's arguments; `-` is the tar on its standard output. `mirrors` are sources.list lines of this machine. */
export function mmdebstrapArguments(mirrors = []) {
  const host = readNames(readFileSync(path.join(labDirectory(), 'host/packages.txt'), 'utf8'));
  const guest = readNames(readFileSync(path.join(labDirectory(), 'host/guest-packages.txt'), 'utf8'));
  return [
    '--variant=minbase',
    '--quiet',
    `--include=${host.join(',')}`,
    ...pathsLeftOut(),
    '--aptopt=Apt::Install-Recommends "false"',
    `--customize-hook=${downloadHook(guest)}`,
    `--customize-hook=${kernelHook()}`,
    SUITE,
    '-',
    ...mirrors,
  ];
}

const pathsLeftOut = () =>
  ['man', 'doc', 'locale', 'info', 'zoneinfo'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`);

/** Puts the guest's packages into the image as files. A meta package stands for the package it depends on. Pure. */
export function downloadHook(packages) {
  return [
    'set -eu; export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"',
    `mkdir -p "$1${GUEST_PACKAGES_DIR}"; cd "$1${GUEST_PACKAGES_DIR}"`,
    `for name in ${packages.join(' ')}`,
    'do real=$(apt-cache depends "$name" | sed -n "s/.*Depends: \\(linux-image-.*\\)/\\1/p" | head -n 1)',
    'apt-get download -q "${real:-$name}"',
    'done',
  ].join('; ');
}

/**
 * Puts the guest's kernel where a host has its own: for the appliance that changes guests from outside. Not as a package, which
 * would make an initramfs that nothing here boots; without the drivers of network cards. Pure.
 */
export function kernelHook() {
  return [
    'set -eu; cd "$1"',
    `dpkg-deb --fsys-tarfile ".${GUEST_PACKAGES_DIR}"/linux-image-*.deb | tar -x --keep-directory-symlink --exclude='*/kernel/net' --exclude='*/kernel/drivers/net' --exclude='./usr/share' --exclude='./boot/System.map*'`,
    'chroot "$1" depmod "$(ls "$1/lib/modules")"',
  ].join('; ');
}

/** Turns apt's list of index files into sources.list lines for the suite, so that a machine's own mirror is used. Pure. */
export function mirrorLines(indexTargets) {
  const lines = new Set();
  for (const line of indexTargets.split('\n')) {
    const [uri = '', codename = '', component = '', origin = ''] = line.trim().split(/\s+/);
    if (origin !== 'Debian' || component !== 'main' || !codename.startsWith(SUITE)) continue;
    if (codename.includes('backports')) continue;
    lines.add(`deb ${uri} ${codename} main`);
  }
  return lines.size > 0 && [...lines].some((line) => line.includes(` ${SUITE} `)) ? [...lines] : [];
}

function labDirectory() {
  return path.join(findRoot(), 'deploy/lab');
}
