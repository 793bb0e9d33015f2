/** Files that are read to be taken elsewhere: those that were meant, and no others. */
import { execa } from 'execa';
import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { lengthOf } from '@berth/shared/disk/pieces.ts';
import { filePieces } from './file-pieces.ts';

let dir: string;
const { signal } = new AbortController();
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'berth-pieces-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));
const read = async (file: Awaited<ReturnType<typeof filePieces>>, offset = 0): Promise<number> => {
  let bytes = 0;
  for await (const piece of file.pieces(signal, offset)) bytes += lengthOf(piece);
  return bytes;
};

it('are read from any position on, as often as one likes', async () => {
  const path = join(dir, 'disk');
  await writeFile(path, Buffer.alloc(300_000, 1));
  const file = await filePieces(path, 'volume v');
  expect([file.fileBytes, await read(file), await read(file, 299_000), await read(file, 300_000)]).toEqual([
    ...[300_000, 300_000, 1_000, 0],
  ]);
});

it('are no links and no pipes, also when one comes in their place before they are read', async () => {
  const [path, other] = [join(dir, 'disk'), join(dir, 'other')];
  await expect(filePieces(path, 'volume v')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  await symlink('/etc/passwd', path);
  await expect(filePieces(path, 'volume v')).rejects.toThrow('is no file');
  await rm(path);
  await execa('mkfifo', [path]);
  await expect(filePieces(path, 'volume v')).rejects.toThrow('is no file');
  await rm(path);
  await writeFile(path, Buffer.alloc(5_000, 1));
  const file = await filePieces(path, 'volume v');
  await symlink('/etc/passwd', other);
  await rename(other, path);
  await expect(read(file)).rejects.toThrow('is no file');
});
