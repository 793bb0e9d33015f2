import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { LastSeen } from './last-seen.ts';
import { silentLog } from './testing.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-seen-'));
  file = join(folder, 'last-seen.json');
});
afterEach(() => rmSync(folder, { recursive: true }));
const open = () => new LastSeen(file, systemClock, silentLog);

it('what was seen before a stop is known after the next start', async () => {
  const first = open();
  first.start(() => ({}));
  expect(first.get('host-1')).toBeUndefined();
  await first.stop({ 'host-1': 42 });
  expect(open().get('host-1')).toBe(42);
});

it('a damaged file is as good as none', () => {
  writeFileSync(file, '{"host-1":');
  expect(open().get('host-1')).toBeUndefined();
});

it('a folder that cannot be written to stops nothing', async () => {
  const seen = new LastSeen(join(folder, 'none', 'x.json'), systemClock, silentLog);
  await seen.stop({ 'host-1': 42 });
});
