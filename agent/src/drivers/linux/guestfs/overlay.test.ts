/** Who puts changes into a volume that lies in a pool. What overlays do with volumes: guestfs.test.ts. */
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writerOf } from './overlay.ts';

const nobody = { sandboxUser: () => Promise.resolve({ name: 'nobody', uid: 65_534, gid: 65_534 }) };
let dir: string;
let file: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-overlay-'));
  file = join(dir, 'volume-1.qcow2');
  await writeFile(file, '');
  await chown(file, 64_055, 64_055);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

it('is nobody in particular, whoever owns the file', async () => {
  expect(await writerOf(file, nobody)).toBe('nobody');
});

it('is the owner of the file where a file server has it', async () => {
  expect(await writerOf(file, nobody, () => Promise.resolve(true))).toBe('64055');
});
