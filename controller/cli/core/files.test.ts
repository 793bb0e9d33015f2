import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { toFile } from './download-file.ts';
import { insistWritable } from './files.ts';

it('says of a file that cannot be made which folder is missing', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-files-'));
  const path = join(dir, 'none', 'x.qcow2');
  const words = `can't write ${path}: there is no folder ${join(dir, 'none')}`;
  await expect(toFile(path, false)).rejects.toThrow(words);
  expect(() => insistWritable(path)).toThrow(words);
  rmSync(dir, { recursive: true });
});
