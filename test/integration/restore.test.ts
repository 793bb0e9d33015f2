/**
 * A controller restored from yesterday's backup: hosts let it in by themselves and refuse the one that they had; what changed
 * since is told, and nothing is done about it until a person has said so.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster, freePort } from '../harness/cluster.ts';
import { Daemon, eventually, PROGRAMS, run } from '../harness/processes.ts';

let c: Cluster;
let restored: Daemon | undefined;
beforeAll(async () => {
  c = await Cluster.start();
  for (const host of ['h1', 'h2']) await c.addSimulated(host);
  await c.waitUp('h1', 'h2');
});
afterAll(async () => {
  await restored?.end('SIGKILL');
  await c?.stop();
});

const state = async (vm: string) => (await c.json<{ state: string }>('vm', 'show', vm)).state;
const answers = () => eventually('the controller answers', async () => (await c.berth('host', 'list')).code === 0);

it('today is taken from the hosts, and nothing is started, stopped or removed unasked', async () => {
  await c.ok('vm', 'create', 'stays', 'stopped', 'goes', '--disk', '1GiB', '--host', 'h1');
  await c.ok('vm', 'create', 'forced', '--disk', '1GiB', '--host', 'h2');
  await c.ok('vm', 'start', 'stays', 'stopped');
  const file = join(c.dir, 'yesterday.backup');
  const made = await run(PROGRAMS.controller, ['backup', '--data-dir', c.dataDir, '--to', file]);
  expect(made.code, made.err).toBe(0);
  expect(made.out).toMatch(/2 hosts, 4 VMs.*read back and checked/);

  await c.ok('vm', 'stop', 'stopped', '--force');
  await c.ok('vm', 'delete', 'goes');
  await c.ok('vm', 'create', 'new', '--disk', '1GiB', '--host', 'h2');
  await c.ok('vm', 'start', 'new', 'forced');
  const { id, uuid, spec, createdAtMs } = await c.json<Record<string, unknown>>('vm', 'show', 'new');
  const asMade = { id, uuid, spec, createdAtMs, state: 'running', host: 'h2' };
  const newDir = join(c.dir, 'restored');
  const done = await run(PROGRAMS.controller, ['restore', file, '--data-dir', newDir]);
  expect(done.code, done.err).toBe(0);

  // The original still runs: from the moment that the restored one is there, hosts refuse it.
  const other = `127.0.0.1:${await freePort('127.0.0.1')}`;
  restored = new Daemon(PROGRAMS.controller, ['run', '--data-dir', newDir, '--listen', other]);
  restored.start();
  await eventually('the original is fenced off', async () => {
    const { out } = await c.berth('host', 'list');
    return /older than a restore/.test(out) && !/\bup\b/.test(out);
  });
  await restored.end();
  await c.controller.end();
  restored = new Daemon(PROGRAMS.controller, ['run', '--data-dir', newDir, '--listen', c.address]);
  restored.start();
  await answers();
  await c.waitUp('h1', 'h2');

  expect(await state('stays')).toBe('running');
  expect(await state('stopped')).toBe('stopped');
  expect(await c.ok('vm', 'list')).toMatch(/goes +missing +h1 .*gone from h1: forget it/);
  const review = await c.ok('host', 'review');
  expect(review).toMatch(/vm +goes +gone/);
  expect(review).toMatch(/vm +new +found +running, 1 vCPU/);
  expect(review).toMatch(/vm +forced +power +running, and was off/);
  expect(review).toMatch(/vm +stopped +power +stopped, and was on/);
  expect((await c.berth('vm', 'create', 'more', '--disk', '1GiB')).err).toMatch(
    /h1 +review +restored, and not accepted yet/,
  );

  const listed = await c.berth('vm', 'list');
  expect(listed.out).toMatch(/new +found +h2 .*running; not in the inventory/);
  expect(listed.err).toMatch(/1 VM is on hosts and not in the inventory: berth vm adopt new/);
  expect((await c.berth('vm', 'adopt', 'nobody')).err).toMatch(/no host has an unknown vm nobody/);
  expect(await c.ok('vm', 'adopt', '--all')).toMatch(/adopted on h2/);
  expect((await c.berth('vm', 'adopt', 'new')).err).toMatch(/vm new is in the inventory already/);
  expect(await c.json('vm', 'show', 'new')).toMatchObject(asMade);

  expect(await c.ok('host', 'accept', 'h1', 'h2')).toMatch(/accepted/);
  const audit = await c.json<{ method: string; outcome: string }[]>('audit', 'list');
  expect(audit.filter((row) => row.method === 'ReviewService.AcceptHost' && row.outcome === 'done')).toHaveLength(2);
  expect(await state('stopped')).toBe('stopped');
  expect(await state('forced')).toBe('running');
  await c.ok('vm', 'delete', 'goes');
  await c.ok('vm', 'create', 'more', '--disk', '1GiB');
  await c.quiet();
  expect((await c.ok('vm', 'list', '-o', 'name')).split('\n').sort()).toEqual([
    'forced',
    'more',
    'new',
    'stays',
    'stopped',
  ]);
  // it is a VM like any other: it can be stopped, started by its spec, and deleted with its disks
  await c.ok('vm', 'stop', 'new', '--force');
  await c.ok('vm', 'start', 'new');
  await c.ok('vm', 'delete', 'new', '--force');
  await eventually('nothing is left of it', async () =>
    /as the inventory has it/.test(await c.ok('host', 'review', 'h2')),
  );
  expect(await c.ok('event', 'list')).not.toMatch(/vm\.restarting/);
});

it('the controller of before stays refused, and a second restore of the same backup is let in again', async () => {
  await restored?.end();
  c.controller.start();
  await answers();
  await eventually('it is told why', async () => /older than a restore/.test((await c.berth('host', 'list')).out));
  await c.controller.end();
  const again = join(c.dir, 'again');
  const done = await run(PROGRAMS.controller, ['restore', join(c.dir, 'yesterday.backup'), '--data-dir', again]);
  expect(done.code, done.err).toBe(0);
  rmSync(join(c.dir, 'restored'), { recursive: true });
  restored = new Daemon(PROGRAMS.controller, ['run', '--data-dir', again, '--listen', c.address]);
  restored.start();
  await answers();
  await c.waitUp('h1', 'h2');
  expect(await c.ok('host', 'review')).toMatch(/vm +more +found/);
});
