/** A copy of the controller's data directory, made before the original went on, is never let in, however far it comes itself. */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { Daemon, eventually, PROGRAMS } from '../harness/processes.ts';

let c: Cluster;
beforeAll(async () => {
  c = await Cluster.start();
  await c.addSimulated('h1');
  await c.waitUp('h1');
});
afterAll(() => c?.stop());

it('the hosts refuse a stale copy, and take the original back', async () => {
  const copyDir = join(c.dir, 'copy');
  await c.controller.end();
  cpSync(c.dataDir, copyDir, { recursive: true });
  c.controller.start();
  await eventually('the original answers', async () => (await c.berth('host', 'list')).code === 0);
  await c.waitUp('h1');
  await c.ok('vm', 'create', 'after', '--disk', '1GiB');
  await c.controller.end();
  const copy = new Daemon(PROGRAMS.controller, ['run', '--data-dir', copyDir, '--listen', c.address]);
  copy.start();
  try {
    await eventually('the copy answers', async () => (await c.berth('host', 'list')).code === 0);
    // Its revision overtakes the original's: that alone must not be enough.
    for (let round = 0; round < 6; round++)
      await Promise.all(Array.from({ length: 8 }, (_, i) => c.ok('token', 'create', `u${round}-${i}`)));
    await eventually('the host says why', async () => /knows nothing/.test((await c.berth('host', 'list')).out));
    expect(await c.hostState('h1')).not.toBe('up');
  } finally {
    await copy.end('SIGKILL');
  }
  c.controller.start();
  await eventually('the original answers', async () => (await c.berth('host', 'list')).code === 0);
  await c.waitUp('h1');
  expect(await c.ok('vm', 'list', '-o', 'name')).toBe('after');
});
