/**
 * Makes the command line start fast: one CommonJS file, a launcher, and beside it what V8 compiled of it, so that a start
 * compiles nothing. The compiled code is for the Node that built it; any other compiles as usual. Runs in the build;
 * as a program of its own (`node command.js BUNDLE CACHE`) it writes the compiled code.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { rootCertificates } from 'node:tls';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';

const HERE = fileURLToPath(import.meta.url);

/** Commands that are run to find out which functions a start needs. Nothing answers them. */
const USUAL = [
  ['--help'],
  ['vm', 'clone', 'image', 'a', 'b'],
  ['vm', 'list'],
  ['host', 'list', '-o', 'json'],
  ['vm', 'start', 'a'],
];

/** What the launcher and the maker of the cache must do alike, or V8 would not take the cache. */
const WRAP = ['(function (exports, require, module, __filename, __dirname) { ', '\n})'];

/** Named by their content: compiled code can never meet another source, also not in the middle of a build. */
export function writeCommand(outdir, name, source) {
  mkdirSync(outdir, { recursive: true });
  const hash = createHash('sha256').update(source).digest('hex').slice(0, 16);
  const bundle = `${name}-${hash}.js`;
  const cache = `${name}-${hash}.v8`;
  writeDurably(path.join(outdir, 'package.json'), '{ "type": "commonjs" }\n');
  writeDurably(path.join(outdir, bundle), source);
  execFileSync(process.execPath, [HERE, path.join(outdir, bundle), path.join(outdir, cache)], { stdio: 'ignore' });
  writeDurably(path.join(outdir, `${name}.js`), launcher(bundle, cache));
  const current = [bundle, cache, `${bundle}.map`, `${name}.js`, 'package.json'];
  for (const old of readdirSync(outdir))
    if (!current.includes(old)) rmSync(path.join(outdir, old), { recursive: true });
}

/** The file that starts `bundle`, beside which `cache` may be. Pure. */
export function launcher(bundle, cache) {
  return `// Starts ${bundle} with its compiled code, or compiles it when that is of another Node.
const { readFileSync } = require('node:fs');
const { Script } = require('node:vm');
const filename = require('node:path').join(__dirname, ${JSON.stringify(bundle)});
let cachedData;
try {
  cachedData = readFileSync(require('node:path').join(__dirname, ${JSON.stringify(cache)}));
} catch {}
const source = ${JSON.stringify(WRAP[0])} + readFileSync(filename, 'latin1') + ${JSON.stringify(WRAP[1])};
const run = new Script(source, { filename, cachedData }).runInThisContext();
run.call(exports, exports, require, module, filename, __dirname);
`;
}

/** Under another name first: whoever runs the command meanwhile gets the old file or the new one. */
function writeDurably(file, data) {
  const half = `${file}.half`;
  const fd = openSync(half, 'w');
  try {
    writeFileSync(fd, data);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(half, file);
}

/** Runs the usual commands, one after another, and keeps what was compiled for them. */
function writeCache(bundle, cache) {
  const script = new vm.Script(WRAP[0] + readFileSync(bundle, 'latin1') + WRAP[1], { filename: bundle });
  const folder = path.dirname(bundle);
  const config = `${cache}.config`;
  // a port where nobody listens: a command gets as far as it can without a controller
  const context = { controller: '127.0.0.1:1', ca: rootCertificates[0], token: 'x' };
  writeFileSync(config, JSON.stringify({ current: 'x', contexts: { x: context } }));
  process.env.BERTH_CONFIG = config;
  const left = [...USUAL];
  process.exit = () => undefined; // a command that is done ends its process a while later: on a slow machine before all have run
  process.on('beforeExit', () => {
    const words = left.shift();
    if (words === undefined) return;
    setImmediate(() => undefined); // once more round the loop, also for a command that awaits nothing real
    process.argv = [process.argv[0], 'berth', ...words];
    const module = { exports: {} };
    script.runInThisContext().call(module.exports, module.exports, createRequire(bundle), module, bundle, folder);
  });
  process.on('exit', () => {
    rmSync(config, { force: true });
    if (left.length > 0) throw new Error(`the command line ended before it was asked for "berth ${left[0].join(' ')}"`);
    writeDurably(cache, script.createCachedData());
    process.exitCode = 0;
  });
}

if (process.argv[1] === HERE) writeCache(process.argv[2], process.argv[3]);
