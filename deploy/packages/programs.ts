/** What each package contains: a tree of files per program, and what dpkg is told of it. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import { commandsFor, NOUNS } from '@berth/controller/cli/commands.ts';
import { SCRIPTS } from '@berth/controller/cli/completion/scripts.ts';
import { launcher } from '../command.js';
import { AGENT_ABOUT, CONTROLLER_ABOUT } from './about.ts';
import { copyrightFile } from './copyright.ts';
import type { Package } from './deb.ts';
import { launchOf } from './launch.ts';
import { closure, licenceTexts, readLock, type Library } from './libraries.ts';
import { commandPages, daemonPage } from './man.ts';
import type { Release } from './release.ts';
import { libraryNeeds, nodeLicence, runtimeDependency, type Runtime } from './runtime.ts';
import { copyLibrary, shippedFiles } from './ship.ts';
import { Tree } from './tree.ts';

export interface Making {
  /** The checkout, built. */
  readonly root: string;
  readonly release: Release;
  readonly runtime: Runtime;
  /** Where trees are put together. */
  readonly work: string;
}

const LIB = '/usr/lib/berth';
const NODE = `${LIB}/runtime/node`;
const WORKSPACES = { agent: ['agent', 'shared', 'proto'], controller: ['controller', 'shared', 'proto'] };
const SQLITE = ['better-sqlite3', 'better-sqlite3-napi'];

export function runtimePackage(m: Making): Package {
  const { release, runtime } = m;
  const tree = new Tree(join(m.work, 'berth-runtime'));
  tree.copy(runtime.file, NODE, 0o755);
  tree.write('/usr/share/doc/berth-runtime/copyright', nodeLicence(runtime));
  overrides(m, tree, 'berth-runtime');
  return {
    name: 'berth-runtime',
    version: `${runtime.version}+berth${release.version}`,
    architecture: runtime.architecture,
    depends: runtime.needs,
    summary: `Node.js ${runtime.version} for Berth`,
    description: [
      'The Node.js that the other packages of Berth were built and tested with, as its makers have built it. It is used by them alone, and leaves a Node.js of the system as it is.',
    ],
    tree,
  };
}

export async function commandPackage(m: Making): Promise<Package> {
  const tree = new Tree(join(m.work, 'berth'));
  const from = join(m.root, 'controller/dist/cli');
  const bundle = readdirSync(from).find((name) => /^berth-[0-9a-f]+\.js$/.test(name)) ?? 'berth.js';
  tree.copy(join(from, bundle), `${LIB}/cli/${bundle}`);
  tree.write(`${LIB}/cli/berth.js`, launcher(bundle, `${basename(bundle, '.js')}.v8`));
  tree.write(`${LIB}/cli/package.json`, '{ "type": "commonjs" }\n');
  tree.copy(join(m.root, 'deploy/command.js'), `${LIB}/cli/compile.mjs`);
  start(tree, 'berth', `${LIB}/cli/berth.js`);
  tree.write('/usr/share/bash-completion/completions/berth', SCRIPTS.bash);
  tree.write('/usr/share/zsh/vendor-completions/_berth', SCRIPTS.zsh);
  tree.write('/usr/share/fish/vendor_completions.d/berth.fish', SCRIPTS.fish);
  const dated = { version: m.release.version, epoch: m.release.epoch };
  for (const [name, text] of commandPages(await commandsFor(Object.keys(NOUNS)), NOUNS, dated))
    tree.writeCompressed(`/usr/share/man/man1/${name}`, text);
  tree.writeCompressed('/usr/share/doc/berth/CHANGELOG.md', readFileSync(join(m.root, 'CHANGELOG.md')));
  documents(m, tree, 'berth', librariesOf(m, 'controller', SQLITE));
  return {
    ...common(m, 'berth', tree),
    architecture: 'all',
    scripts: scripts(m, 'berth', ['postinst', 'prerm', 'triggers']),
    summary: 'command line of Berth, a cluster manager for KVM hosts',
    description: [
      'Berth places, clones, starts, stops and removes virtual machines over many KVM hosts. This is the command with which people and scripts do so; it talks to a controller (package berth-controller).',
    ],
  };
}

export async function controllerPackage(m: Making): Promise<Package> {
  const name = 'berth-controller';
  const tree = new Tree(join(m.work, name));
  const dir = `${LIB}/controller`;
  copyBundle(tree, join(m.root, 'controller/dist'), dir);
  const major = Number(m.runtime.version.split('.')[0]);
  const sqlite = major >= 22 ? 'better-sqlite3-napi' : 'better-sqlite3';
  const libraries = librariesOf(
    m,
    'controller',
    SQLITE.filter((s) => s !== sqlite),
  );
  // SQLite alone is beside the program; the others are inside of it
  const beside = closure(readLock(m.root), [`node_modules/${sqlite}`], []).map((l) => l.path);
  for (const library of libraries)
    if (library.name === sqlite || beside.includes(library.path)) copyLibrary(m.root, library, tree, dir);
  start(tree, name, `${dir}/berth-controller.js`);
  tree.copy(join(m.root, 'deploy/packages/files/controller.yaml'), '/etc/berth/controller.yaml');
  unit(m, tree, name);
  tree.copy(join(m.root, 'deploy/systemd/berth.conf'), '/usr/lib/sysusers.d/berth-controller.conf');
  await manual(m, tree, name, join(m.root, 'controller/dist/berth-controller.js'), CONTROLLER_ABOUT);
  documents(m, tree, name, libraries);
  overrides(m, tree, name);
  const native = readFileSync(nativeModule(join(m.root, 'node_modules', sqlite)));
  return {
    ...common(m, name, tree, [...libraryNeeds(native), 'systemd', 'init-system-helpers (>= 1.54~)']),
    architecture: m.runtime.architecture,
    recommends: ['berth', 'osinfo-db'],
    scripts: scripts(m, name, ['postinst', 'prerm', 'postrm']),
    summary: 'controller of Berth, a cluster manager for KVM hosts',
    description: [
      'The one process of an installation that knows all hosts and virtual machines, and decides. It runs as a user of its own, without privileges, and keeps its inventory in an embedded database in /var/lib/berth-controller.',
      'Removing and purging this package keep that directory.',
    ],
  };
}

/** What storage pools of some types need on their hosts: agent/src/pool/pool-packages.ts asks for them. */
const STORAGE = [
  'qemu-block-extra',
  ...['rbd', 'gluster', 'iscsi-direct'].map((type) => `libvirt-daemon-driver-storage-${type}`),
  ...['lvm2', 'open-iscsi', 'nfs-common', 'glusterfs-client', 'multipath-tools'],
];

export async function agentPackage(m: Making): Promise<Package> {
  const name = 'berth-agent';
  const tree = new Tree(join(m.work, name));
  const dir = `${LIB}/agent`;
  copyBundle(tree, join(m.root, 'agent/dist'), dir);
  const { environment, flags } = launchOf(readFileSync(join(m.root, 'agent/bin/berth-agent.js'), 'utf8'));
  start(tree, name, [...flags, `${dir}/berth-agent.js`].join(' '), environment.map((e) => `${e} `).join(''));
  tree.copy(join(m.root, 'deploy/packages/files/agent.yaml'), '/etc/berth/agent.yaml');
  unit(m, tree, name);
  await manual(m, tree, name, join(m.root, 'agent/dist/berth-agent.js'), AGENT_ABOUT);
  documents(m, tree, name, librariesOf(m, 'agent', []));
  return {
    ...common(m, name, tree, [
      ...['systemd', 'init-system-helpers (>= 1.54~)', 'iproute2', 'procps', 'genisoimage', 'qemu-utils'],
      ...['qemu-system-x86 | qemu-system-arm | qemu-kvm', 'libvirt-daemon-system | libvirt-daemon'],
    ]),
    architecture: 'all',
    recommends: ['qemu-system-common', 'guestfish', 'supermin', 'ovmf', 'swtpm-tools'],
    suggests: STORAGE,
    scripts: scripts(m, name, ['postinst', 'prerm', 'postrm']),
    summary: 'agent of Berth, a cluster manager for KVM hosts',
    description: [
      'The part of Berth that runs on every host: it speaks to libvirt and QEMU, keeps disks and images, and does what the controller asks for. Restarts and upgrades of it touch no guest.',
      'Removing this package keeps all data. Purging it removes its configuration and the keys of the host, and keeps disks and images.',
    ],
  };
}

const common = (m: Making, name: string, tree: Tree, more: readonly string[] = []) => ({
  name,
  version: m.release.version,
  depends: [runtimeDependency(m.runtime.version), ...more],
  tree,
});

const scripts = <T extends string>(m: Making, name: string, which: readonly T[]): Record<T, string> =>
  Object.fromEntries(which.map((s) => [s, join(m.root, `deploy/packages/scripts/${name}.${s}`)])) as Record<T, string>;

function start(tree: Tree, name: string, what: string, environment = ''): void {
  tree.write(`/usr/bin/${name}`, `#!/bin/sh\n${environment}exec ${NODE} ${what} "$@"\n`, 0o755);
}

/** With the whole path of the program: a link from a checkout, which somebody forgot in /usr/local/bin, would go before it. */
function unit(m: Making, tree: Tree, name: string): void {
  const text = readFileSync(join(m.root, `deploy/systemd/${name}.service`), 'utf8');
  tree.write(`/lib/systemd/system/${name}.service`, text.replace(/^ExecStart=(?=berth)/m, 'ExecStart=/usr/bin/'));
}

/** Without source maps: Node is not told to read them. */
function copyBundle(tree: Tree, from: string, dir: string): void {
  tree.write(`${dir}/package.json`, '{ "type": "module" }\n');
  for (const folder of ['', 'chunks/'])
    for (const name of readdirSync(join(from, folder)).sort())
      if (name.endsWith('.js')) tree.copy(join(from, folder, name), `${dir}/${folder}${name}`);
}

const librariesOf = (m: Making, program: keyof typeof WORKSPACES, leftOut: readonly string[]): Library[] =>
  closure(readLock(m.root), WORKSPACES[program], leftOut);

function documents(m: Making, tree: Tree, name: string, libraries: readonly Library[]): void {
  const text = copyrightFile(libraries, (library) => licenceTexts(m.root, library));
  tree.write(`/usr/share/doc/${name}/copyright`, text);
}

const overrides = (m: Making, tree: Tree, name: string): void =>
  tree.copy(join(m.root, `deploy/packages/files/${name}.lintian`), `/usr/share/lintian/overrides/${name}`);

type About = Parameters<typeof daemonPage>[3] & {
  readonly summary: string;
  readonly commands: readonly (readonly string[])[];
};

async function manual(m: Making, tree: Tree, name: string, program: string, about: About): Promise<void> {
  const help: [string, string][] = [];
  for (const command of about.commands) {
    const { stdout } = await execa(m.runtime.file, [program, ...command, '--help'], { env: { COLUMNS: '78' } });
    help.push([[name, ...command].join(' '), stdout]);
  }
  const page = daemonPage(name, about.summary, help, about, m.release);
  tree.writeCompressed(`/usr/share/man/man8/${name}.8`, page);
}

/** What npm has compiled, or got compiled. */
const nativeModule = (dir: string): string =>
  join(dir, shippedFiles(dir).find((file) => file.endsWith('.node')) ?? 'no native module');
