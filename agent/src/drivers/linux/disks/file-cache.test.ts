import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FileCache } from './file-cache.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-cache-'));
});
afterEach(() => rm(dir, { recursive: true }));

function counting() {
  const cache = new FileCache<string>();
  const path = join(dir, 'a.json');
  const loads: string[] = [];
  const read = () =>
    cache.read(path, async () => {
      loads.push(path);
      return readFile(path, 'utf8');
    });
  return { cache, path, loads, read };
}

it('a file is read once while it stays the same, and again when it is replaced or changed', async () => {
  const { path, loads, read } = counting();
  await writeFile(path, 'one');
  expect([await read(), await read()]).toEqual(['one', 'one']);
  expect(loads).toHaveLength(1);
  await writeFile(`${path}.new`, 'two');
  await rename(`${path}.new`, path);
  expect(await read()).toBe('two');
  await writeFile(path, 'six');
  expect(await read()).toBe('six');
  expect(loads).toHaveLength(3);
});

it('what could not be read is asked again, and what is not kept is forgotten', async () => {
  const { cache, path, loads, read } = counting();
  await expect(read()).rejects.toMatchObject({ code: 'ENOENT' });
  await writeFile(path, 'one');
  expect(await read()).toBe('one');
  cache.keep(new Set([path]));
  await read();
  expect(loads).toHaveLength(2);
  cache.keep(new Set());
  await read();
  expect(loads).toHaveLength(3);
});
