import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { expect, it } from 'vitest';
import { createPool, preparePool } from './disks/pool.ts';
import { describeReal, exec, tempDir } from './fixture/real.ts';
import { createHelpers, type HelperSpec } from './helpers.ts';

/** Listens on the socket and does nothing else. */
const LISTENER = `require('net').createServer().listen(process.argv[1])`;

async function setUp(script = LISTENER) {
  const pool = createPool(join(tempDir(), 'd'));
  await preparePool(pool);
  const fresh = () => createHelpers({ exec, pool, clock: systemClock });
  const socketPath = join(pool.helperDir('h'), 's');
  const spec: HelperSpec = { name: 'h', program: process.execPath, args: ['-e', script, socketPath], socketPath };
  return { pool, helpers: fresh(), fresh, spec };
}

describeReal('a helper process', [], () => {
  it('runs in a session of its own and is found again by whoever comes later', async () => {
    const { helpers, fresh, spec } = await setUp();
    await helpers.prepare('h', false);
    await helpers.start(spec);
    const pids = await fresh().find('h');
    expect(pids.length).toBe(1);
    expect(pids).not.toContain(process.pid);
    expect(await fresh().find('other')).toEqual([]);
    await fresh().stop('h');
    expect(await helpers.find('h')).toEqual([]);
    expect(existsSync(spec.socketPath)).toBe(false);
    await helpers.stop('h');
  });

  it('that does not come up fails with the last line of its log', async () => {
    const { helpers, spec } = await setUp(`console.error('first'); console.error('the reason'); process.exit(1)`);
    await helpers.prepare('h', false);
    await expect(helpers.start(spec)).rejects.toMatchObject({
      reason: 'INTERNAL',
      message: expect.stringMatching(/ended at once \(the reason\)$/) as string,
    });
  });

  it('of an earlier run is gone, with its files, before the next is prepared', async () => {
    const { helpers, spec, pool } = await setUp();
    await helpers.prepare('h', false);
    await helpers.start(spec);
    const [before] = await helpers.find('h');
    writeFileSync(join(pool.helperDir('h'), 'junk'), '');
    const dir = await helpers.prepare('h', false);
    expect(readdirSync(dir)).toEqual([]);
    await helpers.start(spec);
    expect(await helpers.find('h')).not.toContain(before);
  });
});
