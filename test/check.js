/**
 * Everything that is checked without running Berth: format, types, lint, import direction, unused code, freshness of
 * generated code. One line each; the output of a failed check is shown. Exit 1 if any failed.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';

const bin = (name) => join('node_modules', '.bin', name);
const CHECKS = [
  ['lint', bin('eslint'), ['--max-warnings', '1000', '--quiet', '.']],
  ['format', bin('prettier'), ['--check', '--log-level', 'warn', '.']],
  ['types', bin('tsc'), ['-p', '.']],
  [
    'imports',
    bin('depcruise'),
    [
      '--config',
      '.dependency-cruiser.cjs',
      '--output-type',
      'err',
      'proto',
      'shared',
      'agent',
      'controller',
      'deploy',
      'test',
    ],
  ],
  ['unused', bin('knip'), ['--no-progress']],
  ['generated', process.execPath, ['proto/generate.js', '--check']],
];

function run(name, command, args) {
  return new Promise((resolve) => {
    const started = Date.now();
    const out = [];
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const s of [child.stdout, child.stderr]) s.on('data', (d) => out.push(d));
    child.once('error', (e) => out.push(Buffer.from(e.message)));
    child.once('close', (code) =>
      resolve({
        name,
        ok: code === 0,
        seconds: ((Date.now() - started) / 1000).toFixed(1),
        out: Buffer.concat(out).toString(),
      }),
    );
  });
}

const wanted = process.argv.slice(2);
// the longest first; two at once are what the smallest machine that is meant can do
const waiting = CHECKS.filter(([n]) => wanted.length === 0 || wanted.includes(n));
let failed = 0;
async function work() {
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const r = await run(...next);
    console.log(`${r.ok ? ' ✔' : ' ✘'} check ${r.name.padEnd(10)} ${r.seconds} s`);
    if (r.ok) continue;
    failed++;
    console.log(r.out.trimEnd());
  }
}
await Promise.all([work(), work()]);
process.exitCode = failed > 0 ? 1 : 0;
