/** Power verbs with real processes: who may, what is written down, two at once, and an agent that dies in the middle. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';

let c: Cluster;
const NAMES = Array.from({ length: 12 }, (_, i) => `w${i}`);

beforeAll(async () => {
  c = await Cluster.start();
  await c.addSimulated('h1');
  await c.waitUp('h1');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  await c.ok('image', 'import', join(c.dir, 'base.img'));
  await c.ok('vm', 'clone', 'base', ...NAMES, '--label', 'team=a', '--memory', '64MiB', '--start');
  await c.ok('vm', 'clone', 'base', 'other', '--memory', '64MiB', '--start');
});
afterAll(() => c?.stop());

const states = async () =>
  new Map((await c.json<{ name: string; state: string }[]>('vm', 'list')).map((v) => [v.name, v.state]));

it('does it to all with a label at once, and to no other', async () => {
  await c.ok('vm', 'suspend', '-l', 'team=a');
  const now = await states();
  expect(NAMES.map((n) => now.get(n))).toEqual(NAMES.map(() => 'paused'));
  expect(now.get('other')).toBe('running');
  await c.ok('vm', 'resume', '--all');
  expect(new Set((await states()).values())).toEqual(new Set(['running']));
});

it('two who ask for opposites at once: each is done or refused in one line, and the VM is one or the other', async () => {
  const both = await Promise.all(
    Array.from({ length: 6 }, (_, i) => c.berth('vm', i % 2 === 0 ? 'suspend' : 'resume', 'w0')),
  );
  for (const r of both) {
    if (r.code === 0) continue;
    expect([r.code, r.err]).toEqual([
      4,
      expect.stringMatching(/^berth: w0 is busy: job job-\w+ \(vm\.\w+ w0\) holds it/),
    ]);
  }
  expect(['running', 'paused']).toContain((await states()).get('w0'));
  await c.quiet();
  await c.ok('vm', 'resume', 'w0');
});

it('is written down with who and what, and keys are not', async () => {
  await c.ok('vm', 'send-keys', 'w1', 's', 'e', 'c', 'r', 'kp7');
  await c.ok('vm', 'nmi', 'w1');
  await c.ok('vm', 'reset', 'w1');
  const audit = await c.ok('audit', 'list', '-o', 'json');
  const rows = (JSON.parse(audit) as { user: string; method: string; outcome: string }[]).map(
    (r) => `${r.user} ${r.method} ${r.outcome}`,
  );
  for (const method of ['SendKeys', 'InjectNmi', 'ResetVm', 'SuspendVm'])
    expect(rows).toContain(`admin VmService.${method} done`);
  const told = audit + (await c.ok('event', 'list', '-o', 'json')) + (await c.ok('job', 'list', '-o', 'json'));
  expect(told).toContain('vm w1 got keys');
  expect(told).not.toMatch(/\bkp7\b|31,\s*18,\s*46,\s*19,\s*71/); // by name or by code; an id may hold the letters
});

it('takes an operator, for a VM that the role holds for', async () => {
  await c.ok('user', 'add', 'eve', '--role', 'viewer');
  const token = await c.ok('token', 'create', 'eve');
  const env = { BERTH_CONFIG: join(c.dir, 'eve.yaml') };
  writeFileSync(join(c.dir, 'eve.token'), token);
  await c.berthWith({ env }, 'login', '--token-file', join(c.dir, 'eve.token'));
  for (const words of [
    ['reboot', 'w1'],
    ['reset', 'w1'],
    ['suspend', 'w1'],
    ['save', 'w1'],
    ['nmi', 'w1'],
    ['send-keys', 'w1', 'a'],
    ['screenshot', 'w1', join(c.dir, 'w1.png')],
  ]) {
    const r = await c.berthWith({ env }, 'vm', ...words);
    expect([words[0], r.code, r.err]).toEqual([
      words[0],
      6,
      expect.stringMatching(/^berth: eve is viewer and may not do this/),
    ]);
  }
  expect((await states()).get('w1')).toBe('running');
});

it('a picture of the screen is a whole file or none', async () => {
  const file = join(c.dir, 'w1.png');
  await c.ok('vm', 'screenshot', 'w1', file);
  expect(readFileSync(file).subarray(-12).toString('hex')).toBe('0000000049454e44ae426082');
  expect((await c.berth('vm', 'screenshot', 'nosuch', join(c.dir, 'none.png'))).code).toBe(3);
  expect(() => readFileSync(join(c.dir, 'none.png'))).toThrow(/ENOENT/);
});
