/** The examples of controller/HTTP.md, as they stand there: run by bash against a real controller, their output compared. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findRoot } from '@berth/deploy/setup/root.js';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { PROGRAMS } from '../harness/processes.ts';

const BETWEEN = '--- next example ---';
let c: Cluster;
let path: string;

beforeAll(async () => {
  c = await Cluster.start();
  await Promise.all(['h1', 'h2'].map((h) => c.addSimulated(h)));
  await c.waitUp('h1', 'h2');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  writeFileSync(join(c.dir, 'berth'), `#!/bin/sh\nexec "${process.execPath}" "${PROGRAMS.berth}" "$@"\n`);
  chmodSync(join(c.dir, 'berth'), 0o755);
  path = `${c.dir}:${process.env['PATH'] ?? ''}`;
});
afterAll(() => c?.stop());

interface Example {
  readonly script: string;
  /** Undefined: not shown. */
  readonly output: string | undefined;
}

/** Each block of shell, and the block of text after it. */
function examplesOf(markdown: string): Example[] {
  const blocks = [...markdown.matchAll(/^```(sh|text)\n([\s\S]*?)^```$/gm)];
  return blocks.flatMap(([, kind, script = ''], i) => {
    const next = blocks[i + 1];
    return kind === 'sh' ? [{ script, output: next?.[1] === 'text' ? next[2] : undefined }] : [];
  });
}

/** `…` stands for anything within a line. */
function patternOf(text: string): RegExp {
  const literal = text.trim().replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${literal.replaceAll('…', '.*')}$`);
}

it('the examples of controller/HTTP.md do what the page says', async () => {
  const examples = examplesOf(readFileSync(join(findRoot(), 'controller/HTTP.md'), 'utf8'));
  expect(examples.length).toBeGreaterThan(8);
  const script = examples
    .map((e) => e.script)
    .join(`\necho '${BETWEEN}'\n`)
    .replaceAll('ctl.example.org:7480', c.httpAddress)
    .replaceAll('/var/lib/berth-controller', c.dataDir);
  const r = await execa('bash', ['-euo', 'pipefail', '-c', script], {
    cwd: c.dir,
    env: { BERTH_CONFIG: c.configFile, PATH: path },
    reject: false,
    timeout: 170_000,
  });
  const outputs = r.stdout.split(BETWEEN).map((o) => o.trim());
  for (const [i, { script: example, output }] of examples.entries())
    if (output !== undefined) expect(outputs[i] ?? 'nothing', `${example}\n${r.stderr}`).toMatch(patternOf(output));
  expect(r.exitCode, r.stderr).toBe(0);
}, 180_000);
