/**
 * `npm test`: makes the machine ready, then runs every check and every test, the lab included, and prints the counts. A lab
 * that can't run is skipped with its reason, unless LAB_REQUIRED=1. Plain JavaScript without dependencies, because on a
 * fresh machine there are none yet. Arguments choose parts: check unit sim integration lab, and guest, which takes long and is only
 * run when it is named.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureSetup } from '../deploy/setup.js';
import { phaseLine } from '../deploy/setup/phases.js';

const PARTS = ['check', 'unit', 'sim', 'integration', 'lab'];
const LOGS = '.test-logs';
const ON_DEMAND = ['guest'];
const wanted = process.argv.slice(2);
const unknown = wanted.find((w) => ![...PARTS, ...ON_DEMAND].includes(w));
if (unknown !== undefined) {
  console.error(`no part ${unknown}. Parts: ${[...PARTS, ...ON_DEMAND].join(' ')}`);
  process.exit(2);
}
const parts = wanted.length === 0 ? PARTS : [...PARTS, ...ON_DEMAND].filter((p) => wanted.includes(p));

function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    child.once('error', () => resolve(1));
    child.once('close', (code) => resolve(code ?? 1));
  });
}

/** Files at once on 2 cores: both wait more than they reckon. */
const WORKERS = { integration: 4, lab: 3 };

/** @returns the counts of one vitest project; a run that died without a report counts as one failure. */
async function vitest(project) {
  const report = join(LOGS, `${project}.json`);
  rmSync(report, { force: true });
  const code = await run(join('node_modules', '.bin', 'vitest'), [
    'run',
    '--project',
    project,
    '--passWithNoTests',
    ...(WORKERS[project] ? [`--maxWorkers=${WORKERS[project]}`] : []),
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]);
  try {
    const r = JSON.parse(readFileSync(report, 'utf8'));
    const failed = r.numFailedTests + (code !== 0 && r.numFailedTests === 0 ? 1 : 0);
    return { passed: r.numPassedTests, failed, skipped: r.numPendingTests + r.numTodoTests };
  } catch {
    return { passed: 0, failed: code === 0 ? 0 : 1, skipped: 0 };
  }
}

async function part(name) {
  if (name === 'check')
    return { passed: 0, skipped: 0, failed: (await run(process.execPath, ['test/check.js'])) === 0 ? 0 : 1 };
  return vitest(name);
}

const labWanted = parts.includes('lab') || parts.includes('guest');
const setup = await ensureSetup({ lab: labWanted, tests: true, say: (event) => console.log(phaseLine(event)) });
if (!setup.ready) {
  console.error(`npm test: ${setup.reason ?? 'the set-up failed; see .lab/setup.log'}`);
  process.exit(1);
}
if (labWanted && setup.lab === undefined) {
  console.error(`npm test: the lab can't run here: ${setup.labReason}`);
  if (process.env.LAB_REQUIRED === '1') process.exit(1);
}
mkdirSync(LOGS, { recursive: true });

const total = { passed: 0, failed: 0, skipped: 0 };
const lines = [];
for (const name of parts) {
  const started = Date.now();
  console.log(`\n=== ${name}`);
  const r = await part(name);
  for (const key of Object.keys(total)) total[key] += r[key];
  lines.push(
    `${name.padEnd(12)} ${String(r.passed).padStart(5)} passed ${String(r.failed).padStart(3)} failed ${String(r.skipped).padStart(3)} skipped  ${((Date.now() - started) / 1000).toFixed(0)} s`,
  );
}
console.log(`\n${lines.join('\n')}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 || (wanted.length === 0 && total.passed === 0) ? 1 : 0);
