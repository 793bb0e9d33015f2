/**
 * Makes a machine ready to run Berth from its checkout: packages, npm dependencies, build, and for the lab a Docker engine,
 * the host image and the guest image. Plain JavaScript without dependencies, because it runs before there are any. It
 * prints nothing: phases are reported to `say`.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { build, buildFresh } from './build.js';
import { buildDebianImage, buildStorageGuest, debianImageExists, storageGuestExists } from './lab/debian-image.js';
import { buildGuestImage, guestImageExists } from './lab/guest-image.js';
import { IMAGE_TOOLS, buildCephImage, buildHostImage, cephImageExists, hostImageExists } from './lab/host-image.js';
import { labObstacle } from './lab/obstacle.js';
import { guestImagePath, hostImageTag } from './lab/recipe.js';
import { installPackages, missingTools } from './setup/apt.js';
import { dockerSocket, engineAnswers, whyNoEngine } from './setup/docker-api.js';
import { engineTools, startEngine } from './setup/engine.js';
import { COMPILERS, dependenciesFresh, installDependencies } from './setup/npm.js';
import { reporter } from './setup/phases.js';
import { SetupError } from './setup/process.js';
import { findRoot, stateDirectory } from './setup/root.js';
import { unpackPackage, unpackedTool } from './setup/unpacked.js';

/** What unit and integration tests run for real, on the machine itself. */
const TEST_TOOLS = [
  { package: 'qemu-utils', command: 'qemu-img' },
  { package: 'qemu-system-common', command: 'qemu-storage-daemon' },
  { package: 'genisoimage', command: 'isoinfo' },
  { package: 'iproute2', command: 'ip' },
  { package: 'procps', command: 'ps' },
  { package: 'curl', command: 'curl' },
  { package: 'jq', command: 'jq' },
  { package: 'lintian', command: 'lintian' },
  { package: 'ansible-core', command: 'ansible-playbook' },
  { package: 'ansible-lint', command: 'ansible-lint' },
  { package: 'openssh-client', command: 'ssh-keygen' },
  { package: 'libfaketime', file: '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1' },
  // By file: npm's protoc is in the PATH of npm's scripts, and is not the one that fits Debian's Python.
  { package: 'protobuf-compiler', file: '/usr/bin/protoc' },
  { package: 'protobuf-compiler-grpc', file: '/usr/bin/grpc_python_plugin' },
  { package: 'python3-protobuf', file: '/usr/lib/python3/dist-packages/google/protobuf/__init__.py' },
  { package: 'python3-grpcio', file: '/usr/lib/python3/dist-packages/grpc/__init__.py' },
];

/**
 * Answers { ready, reason?, lab?, labReason? }. `ready`: dependencies and build are there. `lab`: { image, guestImage,
 * socketPath }, or `labReason` says in one line why the lab cannot run. Failures are answers, never exceptions.
 */
export async function ensureSetup({ lab, tests = false, say = () => undefined }) {
  const root = findRoot();
  const report = reporter(say);
  const log = path.join(stateDirectory(root), 'setup.log');
  const state = await survey(root, lab, tests);
  const packages = await attempt(() => installMissing(state, report, log));
  const tools = tests ? await attempt(() => unpackTools(root, report, log)) : {};
  const [base, labResult] = await Promise.all([
    packages.reason !== undefined && state.missingForBase.length > 0
      ? packages
      : attempt(() => prepareCheckout(root, state, report, log)),
    lab ? attempt(() => prepareLab(root, state, packages.reason, report, tests)) : {},
  ]);
  const reason = base.reason ?? tools.reason;
  return {
    ready: reason === undefined,
    ...(reason === undefined ? {} : { reason }),
    ...(labResult.value === undefined ? {} : { lab: labResult.value }),
    ...(labResult.reason === undefined ? {} : { labReason: labResult.reason }),
  };
}

/** What this machine has and lacks. Looks only. */
async function survey(root, lab, tests) {
  const needsDependencies = !dependenciesFresh(root);
  const missing = (tools) => missingTools(tools, process.env.PATH ?? '').map((tool) => tool.package);
  const missingForBase = [...(needsDependencies ? missing(COMPILERS) : []), ...(tests ? missing(TEST_TOOLS) : [])];
  if (!lab) return { needsDependencies, missingForBase, missingForLab: [] };
  const obstacle = labObstacle();
  if (obstacle !== undefined) return { needsDependencies, missingForBase, missingForLab: [], obstacle };
  const socketPath = await attempt(() => dockerSocket(process.env.DOCKER_HOST));
  if (socketPath.reason !== undefined)
    return { needsDependencies, missingForBase, missingForLab: [], obstacle: socketPath.reason };
  const engine = await engineAnswers(socketPath.value);
  const image = engine && (await hostImageExists(socketPath.value));
  const missingForLab = [...(engine ? [] : missing(engineTools())), ...(image ? [] : missing(IMAGE_TOOLS))];
  return { needsDependencies, missingForBase, missingForLab, socketPath: socketPath.value, engine };
}

async function installMissing(state, report, log) {
  const packages = [...state.missingForBase, ...state.missingForLab];
  await report.phase('packages', `installing ${packages.join(' ')}`, packages.length === 0, async () => {
    await installPackages(packages, log);
    return packages.join(' ');
  });
}

/** Rules, dashboards and metrics are checked by the very programs that will read them. */
async function unpackTools(root, report, log) {
  const there = existsSync(unpackedTool('prometheus', 'promtool', root));
  await report.phase('prometheus', 'unpacking, 19 MB', there, async () => {
    await unpackPackage('prometheus', root, log);
    return 'unpacked, not installed';
  });
}

async function prepareCheckout(root, state, report, log) {
  await report.phase('dependencies', 'npm ci, compiling better-sqlite3', !state.needsDependencies, async () => {
    await installDependencies(root, log);
    return 'npm ci';
  });
  await report.phase('build', '', buildFresh(root), async () => `${(await build(root)).length} programs`);
}

async function prepareLab(root, state, packagesReason, report, tests) {
  if (state.obstacle !== undefined) throw new SetupError(state.obstacle);
  if (packagesReason !== undefined && state.missingForLab.length > 0) throw new SetupError(packagesReason);
  const { socketPath } = state;
  await report.phase('engine', 'starting dockerd', await engineAnswers(socketPath), async () => {
    if (process.getuid?.() !== 0) throw new SetupError(whyNoEngine(socketPath));
    const driver = await startEngine({ socketPath, stateDir: stateDirectory(root) });
    return `dockerd started, storage driver ${driver}`;
  });
  await report.phase('host-image', 'building, about 600 MB', await hostImageExists(socketPath), async () => {
    if (process.getuid?.() !== 0) throw new SetupError('only root can build the host image');
    await buildHostImage(socketPath);
    return 'about 600 MB, cached for next time';
  });
  await report.phase('guest-image', 'building', guestImageExists(), async () => {
    await buildGuestImage(socketPath);
    return 'about 14 MB, cached for next time';
  });
  // only tests have a use for it
  await report.phase('debian-image', 'building, a minute or two', !tests || debianImageExists(), async () => {
    await buildDebianImage(socketPath);
    return 'about 300 MB, cached for next time';
  });
  await report.phase('storage-guest', 'building, a minute or two', !tests || storageGuestExists(), async () => {
    await buildStorageGuest(socketPath);
    return 'about 300 MB, cached for next time';
  });
  await report.phase('ceph-image', 'building', !tests || (await cephImageExists(socketPath)), async () => {
    await buildCephImage(socketPath);
    return 'about 500 MB, cached for next time';
  });
  return { image: hostImageTag(), guestImage: guestImagePath(), socketPath };
}

/** Turns a failure into { reason }. What is not a SetupError is a defect, but people still get one line. */
async function attempt(work) {
  try {
    return { value: await work() };
  } catch (error) {
    return { reason: error instanceof Error ? error.message.split('\n')[0] : String(error) };
  }
}
