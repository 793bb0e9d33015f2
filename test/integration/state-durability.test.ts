/** kill -9 of a writing process: whatever was answered is there afterwards. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { openState } from '@berth/controller/state/open-state.ts';
import { initState } from '@berth/controller/state/sqlite/init.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { bundled, sqliteWorkerFile } from '../harness/sqlite-worker.ts';

test('an update that was answered survives kill -9, and a second process is refused while the first runs', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-kill-'));
  const path = join(folder, 'state.db');
  const workerFile = await sqliteWorkerFile();
  const log = { error: () => {}, fatal: () => {} };
  const open = () => openState({ path, clock: systemClock, log, onFatal: () => {}, workerFile });
  initState({ path, clock: systemClock });

  const writer = execa('node', [await bundled('test/integration/state-writer.ts'), path, workerFile], {
    reject: false,
  });
  let answered = '';
  let refused = '';
  await new Promise<void>((resolve) => {
    writer.stdout.on('data', (text: Buffer) => {
      const first = answered === '';
      answered += text.toString();
      if (first) void open().catch((e: Error) => (refused = e.message));
      if (answered.length > 20_000 && refused !== '') resolve();
    });
  });
  writer.kill('SIGKILL');
  await writer;
  expect(refused).toContain(`in use by another controller (pid ${writer.pid})`);

  const state = await open();
  const names = answered.slice(0, answered.lastIndexOf('\n')).split('\n');
  expect(names.filter((n) => !state.tables.hosts.byName(n))).toEqual([]);
  expect(state.revision).toBe(state.tables.hosts.size);
  await state.close();
  rmSync(folder, { recursive: true });
});
