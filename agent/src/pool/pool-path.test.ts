/** Which folders may become pools: looked at on a real file system, as root. */
import { chmod, chown, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { checkPoolFolder, checkPoolPath, whyNotOurs } from './pool-path.ts';

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

it("refuses what is below a folder that the agent's unit hides, as /home", async () => {
  await mkdir(join(dir, 'home'), { mode: 0 });
  await expect(check('home/pool')).rejects.toThrow(/home is hidden from the agent .* ProtectHome=read-only/);
});

it("refuses what is the agent's own, and what holds that", async () => {
  for (const path of ['/data', '/data/volumes', '/']) {
    const inner = join(dir, path).replace(/\/$/, '');
    await expect(checkPoolPath('p', inner, join(dir, 'data'))).rejects.toThrow('belongs to the agent');
  }
});

it('takes a folder of root for a pool that is up, and none that a person, a program or everybody could change', async () => {
  const path = join(dir, 'up');
  await mkdir(path);
  await checkPoolFolder('p', path);
  await chmod(path, 0o777);
  await expect(checkPoolFolder('p', path)).rejects.toThrow('chmod +t');
  await chmod(path, 0o1777);
  await checkPoolFolder('p', path);
  await chown(path, 65_534, 0);
  await expect(checkPoolFolder('p', path)).rejects.toThrow('belongs to uid 65534');
  await symlink('/etc', join(dir, 'elsewhere'));
  await expect(checkPoolFolder('p', join(dir, 'elsewhere'))).rejects.toThrow('is no folder');
  await checkPoolFolder('p', join(dir, 'nowhere'));
});

it("takes QEMU's folders, and of a server those of programs that root may not write to there", () => {
  const folder = { uid: 64_055, gid: 64_055, mode: 0o755, ofServer: false, qemuUid: 64_055 };
  expect(whyNotOurs(folder)).toBeUndefined();
  expect(whyNotOurs({ ...folder, qemuUid: 0 })).toContain('chown root');
  const ofOvirt = { ...folder, uid: 36, gid: 36, mode: 0o775, ofServer: true };
  expect(whyNotOurs(ofOvirt)).toBeUndefined();
  expect(whyNotOurs({ ...ofOvirt, ofServer: false })).toContain('uid 36');
  expect(whyNotOurs({ ...ofOvirt, uid: 65_534 })).toContain('anonuid=N');
  expect(whyNotOurs({ ...ofOvirt, uid: 1_000 })).toContain('no_root_squash');
  expect(whyNotOurs({ ...ofOvirt, mode: 0o777 })).toContain('on its server');
});
