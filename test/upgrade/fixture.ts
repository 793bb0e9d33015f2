/**
 * What a release leaves on disk, kept for the tests of all later ones: the data directory of a small controller and that of one
 * of its agents, made by the programs themselves, and what their inventory was. The keys in it are thrown away; they open
 * nothing. Made by make.ts, opened by upgrade.test.ts.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { eventually, run, PROGRAMS } from '../harness/processes.ts';

/** As `berth … -o json` has it, less what changes with time. */
export interface Expected {
  readonly version: string;
  readonly hosts: readonly object[];
  readonly vms: readonly object[];
  readonly images: readonly object[];
  readonly tokens: readonly object[];
  readonly jobs: readonly object[];
  /** Of the agent: ids of its operations, sorted. */
  readonly operations: readonly string[];
  readonly epoch: number;
}

type Row = Record<string, unknown>;
const pick = (rows: readonly Row[], ...fields: readonly string[]): Row[] =>
  rows
    .map((r) => Object.fromEntries(fields.map((f) => [f, r[f]])))
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

export async function inventoryOf(c: Cluster): Promise<Omit<Expected, 'version' | 'operations' | 'epoch'>> {
  const list = (noun: string, ...more: string[]): Promise<Row[]> => c.json<Row[]>(noun, 'list', ...more);
  return {
    hosts: pick(await list('host'), 'id', 'name', 'address', 'labels', 'maintenance', 'createdAtMs'),
    vms: pick(await list('vm'), 'id', 'name', 'uuid', 'host', 'spec', 'generation', 'createdAtMs'),
    images: pick(await list('image'), 'id', 'name', 'digest', 'virtualSizeBytes', 'copies', 'createdAtMs'),
    tokens: pick(await list('token'), 'id', 'user', 'role', 'expiresAtMs'),
    jobs: pick(
      await list('job', '--limit', '100'),
      'id',
      'kind',
      'state',
      'subject',
      'user',
      'createdAtMs',
      'endedAtMs',
    ),
  };
}

/** Replaces `dir`. */
export async function makeFixture(dir: string, version: string): Promise<void> {
  const c = await Cluster.start();
  try {
    await c.addSimulated('h1');
    await c.addSimulated('h2');
    await c.waitUp('h1', 'h2');
    await c.ok('token', 'create', 'ann', '--role', 'viewer');
    writeFileSync(join(c.dir, 'base.img'), rawDisk(8 * 2 ** 20));
    await c.ok('image', 'import', join(c.dir, 'base.img'), '--name', 'base', '--host', 'h1');
    const labels = ['--label', 'tier=web'];
    await c.ok('vm', 'clone', 'base', 'web', '--host', 'h1', '--memory', '64MiB', ...labels, '--ip', '10.0.0.11/24');
    await c.ok('vm', 'create', 'db', '--host', 'h2', '--disk', '1GiB');
    await c.ok('vm', 'start', 'web');
    await c.ok('host', 'drain', 'h2');
    // a job that failed, and operations that no controller has acknowledged
    await c.berth('vm', 'create', 'huge', '--host', 'h1', '--memory', '60TiB');
    const expected = { version, ...(await inventoryOf(c)) };
    await c.controller.end('SIGKILL');
    await c.agents.get('h1')?.end();
    c.controller.start();
    await eventually('the controller answers', async () => (await c.berth('host', 'list')).code === 0);
    await c.controller.end();
    await save(c, dir, expected);
  } finally {
    await c.stop();
  }
}

async function save(c: Cluster, dir: string, expected: Omit<Expected, 'operations' | 'epoch'>): Promise<void> {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  const without = (path: string): boolean =>
    !/\.(pid|lock|new)$|\/(control|tunnels|agent\.yaml)$|-wal$|-shm$/.test(path);
  cpSync(c.dataDir, join(dir, 'controller'), { recursive: true, filter: without });
  cpSync(join(c.dir, 'h1'), join(dir, 'agent'), { recursive: true, filter: without });
  const ledger = readFileSync(join(dir, 'agent', 'operations', 'ledger.jsonl'), 'utf8');
  const verified = await run(PROGRAMS.controller, ['--version']);
  if (verified.code !== 0) throw new Error(verified.err);
  const all = { ...expected, ...ledgerSums(ledger) };
  writeFileSync(join(dir, 'expected.json'), `${JSON.stringify(all, undefined, 2)}\n`);
}

/** Written down by hand, so that a change in how ledgers are read can't hide itself. */
function ledgerSums(text: string): Pick<Expected, 'operations' | 'epoch'> {
  const ids = new Set<string>();
  let epoch = 0;
  for (const m of text.matchAll(/"t":"(op|drop|fence)".*/g)) {
    const id = /"id":"([^"]+)"/.exec(m[0])?.[1];
    if (m[1] === 'fence') epoch = Number(/"epoch":(\d+)/.exec(m[0])?.[1]);
    else if (id !== undefined && m[1] === 'op' && !/"kind":"~/.test(m[0])) ids.add(id);
    else if (id !== undefined) ids.delete(id);
  }
  const acknowledged = [...text.matchAll(/"t":"ack","prefixes":(\[[^\]]*\])/g)].flatMap(
    (m) => JSON.parse(m[1]!) as string[],
  );
  return { operations: [...ids].filter((id) => !acknowledged.some((p) => id.startsWith(p))).sort(), epoch };
}
