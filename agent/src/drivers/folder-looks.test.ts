/** Looks at folders, some of which hang: in the kernel, as a mount whose server is gone does. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { FolderLooks } from './folder-looks.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'looks-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Who opens it waits in the kernel, and holds a thread, until `answer`. */
function hanging(name: string) {
  const path = join(dir, name);
  execFileSync('mkfifo', [path]);
  return {
    look: async () => (await open(path, 'r')).close(),
    answer: async () => (await open(path, 'w')).close(),
  };
}
const silent = { reason: 'STORAGE_UNAVAILABLE' };

it('hold one thread of a folder that hangs, however often it is asked, and threads for all others', async () => {
  const clock = new SimClock();
  const looks = new FolderLooks({ clock, deadlineMs: 1000, mostHanging: 2 });
  const [nfs, cifs] = [hanging('nfs'), hanging('cifs')];
  const first = [nfs, nfs, nfs, cifs].map((f) => expect(looks.look(f === nfs ? 'nfs' : 'cifs', f.look)).rejects);
  const all = Promise.all(first.map((r) => r.toMatchObject(silent)));
  await clock.advance(1000);
  await all;
  for (let i = 0; i < 20; i++)
    await expect(looks.look('nfs', nfs.look)).rejects.toThrow('storage of nfs does not answer');
  // with more than two, Node's four threads would all be gone
  await expect(looks.look('third', async () => 1)).rejects.toThrow(
    'third is not looked at while the storage of nfs, cifs',
  );
  expect(await readdir(dir)).toEqual(['cifs', 'nfs']);
  await nfs.answer();
  await expect.poll(() => looks.look('nfs', async () => 'well').catch(() => 'hangs')).toBe('well');
  expect(await looks.look('third', async () => 1)).toBe(1);
  await cifs.answer();
  await expect.poll(() => looks.look('cifs', async () => 'well').catch(() => 'hangs')).toBe('well');
});

it('come one after the other, and give what was found or thrown', async () => {
  const looks = new FolderLooks({ clock: new SimClock(), mostHanging: 1 });
  const order: number[] = [];
  const one = looks.look('a', async () => {
    await Promise.resolve();
    order.push(1);
    throw new Error('no such folder');
  });
  const two = looks.look('a', async () => order.push(2));
  await expect(one).rejects.toThrow('no such folder');
  await two;
  expect(order).toEqual([1, 2]);
});
