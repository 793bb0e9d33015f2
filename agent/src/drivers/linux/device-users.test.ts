/** Who uses a device of this host, from files as the kernel has them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { deviceUser } from './device-users.ts';

let root: string;
const put = (path: string, text = ''): void => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
};
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'devices-'));
  for (const name of ['sdb', 'sdc', 'sdd']) put(`dev/${name}`);
  put('sys/class/block/sdb/sdb1/dev', '8:17\n');
  put('sys/class/block/sdb/dev', '8:16\n');
  put('sys/class/block/sdb1/dev', '8:17\n');
  put('sys/class/block/sdc/dev', '8:32\n');
  put('sys/class/block/sdc/holders/dm-3');
  put('sys/class/block/dm-3/dm/name', 'vg0-root\n');
  put('sys/class/block/sdd/dev', '8:48\n');
  put('proc/self/mountinfo', '36 25 8:17 / /srv/data rw - ext4 /dev/sdb1 rw\n');
  put('proc/swaps', 'Filename Type Size\n');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

it('tells of a mount of one of its partitions, of what is made of it, of swap, and of nobody', async () => {
  expect(await deviceUser(join(root, 'dev/sdb'), root)).toBe('/dev/sdb1 is mounted at /srv/data');
  expect(await deviceUser(join(root, 'dev/sdc'), root)).toBe('/dev/sdc is part of vg0-root');
  expect(await deviceUser(join(root, 'dev/sdd'), root)).toBeUndefined();
  put('proc/swaps', 'Filename Type Size\n/dev/sdd partition 1\n');
  expect(await deviceUser(join(root, 'dev/sdd'), root)).toBe('/dev/sdd is swap');
  expect(await deviceUser(join(root, 'dev/none'), root)).toBeUndefined();
});
