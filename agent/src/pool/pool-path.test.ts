/** Which folders may become pools: looked at on a real file system, as root. */
import { chmod, chown, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { checkPoolPath } from './pool-path.ts';

let dir: string;
beforeAll(async () => {
  // not below /tmp: what is above the folder is looked at as well
  dir = await mkdtemp('/var/lib/berth-pool-path-');
  await chmod(dir, 0o755);
});
afterAll(() => rm(dir, { recursive: true, force: true }));
const check = (path: string) => checkPoolPath('p', join(dir, path), '/var/lib/berth-data');

it('takes a folder of root, and one that is not there yet', async () => {
  await mkdir(join(dir, 'fine/pool'), { recursive: true });
  await check('fine/pool');
  await check('not/there/yet');
});

it('refuses links, where they lead or how deep they stand', async () => {
  await symlink('/etc', join(dir, 'link'));
  await expect(check('link')).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  await expect(check('link/pool')).rejects.toThrow('is a link');
});

it('refuses a place that others than root could exchange', async () => {
  await mkdir(join(dir, 'open'));
  await chmod(join(dir, 'open'), 0o777);
  await expect(check('open/pool')).rejects.toThrow('others than root may change');
  await chmod(join(dir, 'open'), 0o1777);
  await check('open/pool');
  await mkdir(join(dir, 'theirs'));
  await chown(join(dir, 'theirs'), 65_534, 0);
  await expect(check('theirs/pool')).rejects.toThrow('others than root may change');
});

it("refuses what is the agent's own, and what holds that", async () => {
  for (const path of ['/data', '/data/volumes', '/']) {
    const inner = join(dir, path).replace(/\/$/, '');
    await expect(checkPoolPath('p', inner, join(dir, 'data'))).rejects.toThrow('belongs to the agent');
  }
});
