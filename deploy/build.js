/**
 * Bundles the programs with esbuild: our own packages, which are TypeScript sources, and for what is installed also those from npm,
 * because looking for hundreds of files takes longer than all else at a start (SQLite, which is machine code, stays outside: it is
 * found by name at run time). Each dist folder is one build with code splitting, so that a program loads only what it uses; the
 * command line is one file (command.js).
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { writeCommand } from './command.js';
import { findRoot } from './setup/root.js';

/** What CommonJS packages expect to find when they are bundled into a module. */
const COMMONJS = `import { createRequire as __createRequire } from 'node:module';
const require = __createRequire(import.meta.url);
const __filename = import.meta.filename;
const __dirname = import.meta.dirname;`;
/** With its npm packages inside; a stack still names the lines of what was built. */
const READABLE = { banner: { js: COMMONJS } };
/** Also without blanks and comments: Node keeps the text of what it runs in memory. */
const SMALL = { ...READABLE, minifyWhitespace: true, minifySyntax: true };

const PROGRAMS = [
  { dist: 'agent/dist', entries: { 'berth-agent': 'agent/src/main.ts' }, inside: SMALL },
  {
    dist: 'controller/dist',
    entries: {
      'berth-controller': 'controller/src/main.ts',
      'sqlite-worker': 'controller/src/state/sqlite/worker.ts',
    },
    inside: READABLE,
  },
  // People wait for this one at every call: see command.js.
  { dist: 'controller/dist/cli', entries: { berth: 'controller/cli/main.ts' }, command: true },
  { dist: 'deploy/dist', entries: { quickstart: 'deploy/quickstart/main.ts', package: 'deploy/packages/main.ts' } },
  {
    dist: 'test/dist',
    entries: { bench: 'test/bench/main.ts', fleet: 'test/bench/fleet.ts', fixture: 'test/upgrade/make.ts' },
  },
];

const WORKSPACES = ['proto', 'shared', 'agent', 'controller', 'deploy', 'test'];
const STAMP = 'deploy/dist/.built';

/** Builds everything that has an entry point. Answers the names of the programs. */
export async function build(root = findRoot()) {
  const esbuild = await import('esbuild');
  const startedAt = new Date();
  const built = await Promise.all(PROGRAMS.map((program) => buildProgram(esbuild, root, program)));
  writeStamp(path.join(root, STAMP), startedAt);
  return built.flat();
}

/** Whether nothing changed since the last build: no source, no lock file, and each program is there. */
export function buildFresh(root = findRoot()) {
  const stamp = path.join(root, STAMP);
  if (!existsSync(stamp)) return false;
  const builtAt = statSync(stamp).mtimeMs;
  const wanted = PROGRAMS.flatMap(({ dist, entries }) =>
    Object.keys(existing(root, entries)).map((name) => path.join(root, dist, `${name}.js`)),
  );
  const inputs = [...WORKSPACES.map((name) => path.join(root, name)), path.join(root, 'package-lock.json')];
  return wanted.every((file) => existsSync(file)) && inputs.every((input) => newestMs(input) <= builtAt);
}

/** Maps an import such as `@berth/shared/log/log.ts` to a path, by the exports of that workspace. Pure. */
export function resolveWorkspace(specifier, exportsOf) {
  const [, name, subpath] = /^@berth\/([^/]+)\/(.+)$/.exec(specifier) ?? [];
  if (name === undefined || subpath === undefined) return undefined;
  const patterns = Object.entries(exportsOf(name)).sort(([a], [b]) => b.length - a.length);
  for (const [pattern, target] of patterns) {
    if (pattern === `./${subpath}`) return path.posix.join(name, target);
    const prefix = pattern.endsWith('*') ? pattern.slice(2, -1) : undefined;
    if (prefix !== undefined && subpath.startsWith(prefix))
      return path.posix.join(name, target.replace('*', subpath.slice(prefix.length)));
  }
  return undefined;
}

async function buildProgram(esbuild, root, { dist, entries, command = false, inside = { packages: 'external' } }) {
  const entryPoints = existing(root, entries);
  if (Object.keys(entryPoints).length === 0) return [];
  const outdir = path.join(root, dist);
  const common = {
    absWorkingDir: root,
    entryPoints: Object.entries(entryPoints).map(([out, input]) => ({ out, in: input })),
    outdir,
    bundle: true,
    platform: 'node',
    target: 'node20',
    logLevel: 'silent',
    plugins: [bundleWorkspaces(root)],
  };
  if (command) await buildCommand(esbuild, common);
  else await buildChunks(esbuild, { ...common, ...inside });
  return Object.keys(entryPoints);
}

async function buildChunks(esbuild, common) {
  const result = await esbuild.build({
    ...common,
    splitting: true,
    format: 'esm',
    sourcemap: true,
    chunkNames: 'chunks/[name]-[hash]',
    metafile: true,
  });
  removeOldChunks(common.outdir, Object.keys(result.metafile.outputs));
}

/** Everything in one file, which loads at once; `import()` only runs what it names. */
async function buildCommand(esbuild, common) {
  const { outputFiles } = await esbuild.build({
    ...common,
    format: 'cjs',
    supported: { 'dynamic-import': false },
    minifyWhitespace: true,
    minifySyntax: true,
    write: false,
  });
  for (const { path: file, contents } of outputFiles) writeCommand(common.outdir, path.basename(file, '.js'), contents);
}

function existing(root, entries) {
  return Object.fromEntries(Object.entries(entries).filter(([, input]) => existsSync(path.join(root, input))));
}

function bundleWorkspaces(root) {
  const exportsOf = (name) => JSON.parse(readFileSync(path.join(root, name, 'package.json'), 'utf8')).exports ?? {};
  return {
    name: 'berth-workspaces',
    setup(plugin) {
      plugin.onResolve({ filter: /^@berth\// }, ({ path: specifier }) => {
        const file = resolveWorkspace(specifier, exportsOf);
        if (file === undefined) return { errors: [{ text: `${specifier} is not exported by its workspace` }] };
        return { path: path.join(root, file), sideEffects: false };
      });
    },
  };
}

/** Chunks have their hash in their name: those of earlier builds would pile up. */
function removeOldChunks(outdir, outputs) {
  const chunks = path.join(outdir, 'chunks');
  if (!existsSync(chunks)) return;
  const current = new Set(outputs.map((output) => path.basename(output)));
  for (const name of readdirSync(chunks)) if (!current.has(name)) rmSync(path.join(chunks, name));
}

/** The stamp carries the time at which the build began: a file saved during the build is newer. */
function writeStamp(file, startedAt) {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, '');
  utimesSync(file, startedAt, startedAt);
}

function newestMs(entry) {
  const stats = statSync(entry);
  if (!stats.isDirectory()) return /\.(ts|js|json)$/.test(entry) ? stats.mtimeMs : 0;
  const inside = readdirSync(entry).filter((name) => name !== 'node_modules' && name !== 'dist');
  return Math.max(0, ...inside.map((name) => newestMs(path.join(entry, name))));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  build().then(
    (names) => process.stdout.write(`built ${names.join(' ') || 'nothing: no entry points yet'}\n`),
    (error) => {
      process.stderr.write(`build failed: ${error.message}\n`);
      process.exitCode = 1;
    },
  );
}
