/** Whether a folder takes direct I/O, also where the agent may write nothing. */
import { chmod, mkdtemp, open, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { takesDirectIo } from './abilities.ts';

vi.mock('node:fs/promises', async (original) => {
  const fs = await original<typeof import('node:fs/promises')>();
  return { ...fs, open: vi.fn(fs.open) };
});

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp('/var/tmp/berth-direct-');
  await chmod(dir, 0o755);
});
afterEach(() => rm(dir, { recursive: true, force: true }));
const refuse = (code: string) => vi.mocked(open).mockRejectedValueOnce(Object.assign(new Error(code), { code }));

it('is the same whether a probe is made or the mark of the pool is opened, and nothing stays', async () => {
  const truth = await takesDirectIo(dir);
  for (const code of ['EROFS', 'EACCES', 'EPERM']) {
    refuse(code);
    expect(await takesDirectIo(dir)).toBe(false);
    await writeFile(join(dir, 'berth.pool-01ab.host-1.mark'), Buffer.alloc(512));
    refuse(code);
    expect(await takesDirectIo(dir)).toBe(truth);
    await rm(join(dir, 'berth.pool-01ab.host-1.mark'));
  }
});

it('is found out without following a link that somebody has put there', async () => {
  const truth = await takesDirectIo(dir);
  const elsewhere = await mkdtemp('/var/tmp/berth-direct-');
  await symlink(join(elsewhere, 'nologin'), join(dir, '.direct-io-probe'));
  expect(await takesDirectIo(dir)).toBe(truth);
  expect([await readdir(elsewhere), await readdir(dir)]).toEqual([[], ['.direct-io-probe']]);
  await rm(elsewhere, { recursive: true });
});

it('is not looked for in the mark when the file system itself refuses it', async () => {
  await writeFile(join(dir, 'berth.pool-01ab.mark'), Buffer.alloc(512));
  refuse('EINVAL');
  expect(await takesDirectIo(dir)).toBe(false);
});
