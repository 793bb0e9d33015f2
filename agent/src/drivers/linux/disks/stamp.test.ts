import { appendFile, mkdir, mkdtemp, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createPool, type Pool } from './pool.ts';
import { stampOf } from './stamp.ts';

let pool: Pool;
const [VOLUME, IMAGE] = ['volume-1', `sha256:${'a'.repeat(64)}`];

beforeEach(async () => {
  pool = createPool(await mkdtemp(join(tmpdir(), 'berth-stamp-')));
  for (const dir of [pool.volumesDir, pool.imagesDir, pool.cacheDir]) await mkdir(dir);
  await writeFile(pool.volumePath(VOLUME, false), 'x');
  await writeFile(pool.imagePath(IMAGE), 'x');
  // file systems tell times of a few milliseconds apart
  for (const dir of [pool.volumesDir, pool.imagesDir, pool.cacheDir]) await utimes(dir, 1, 1);
});
afterEach(() => rm(pool.dataDir, { recursive: true }));

it('is the same while guests write', async () => {
  const before = await stampOf(pool);
  await appendFile(pool.volumePath(VOLUME, false), 'more');
  expect(await stampOf(pool)).toBe(before);
});

it.each([
  ['a volume', () => writeFile(pool.volumePath('volume-2', false), '')],
  ['a volume less', () => rm(pool.volumePath(VOLUME, false))],
  ['another file under its name', () => rename(pool.imagePath(IMAGE), pool.volumePath(VOLUME, false))],
  ['an image less', () => rm(pool.imagePath(IMAGE))],
  ['a copy that begins', () => writeFile(pool.cachePath(IMAGE), '')],
])('is another after %s', async (_, change) => {
  const before = await stampOf(pool);
  await change();
  expect(await stampOf(pool)).not.toBe(before);
});

it('fails where there is no folder, so that the files are looked at', async () => {
  await rm(pool.cacheDir, { recursive: true });
  await expect(stampOf(pool)).rejects.toThrow('ENOENT');
});
