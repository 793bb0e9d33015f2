/** A disk that is full under the controller: one line for people, a record in the log, and all is there afterwards. Needs root, to mount one. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { eventually, PROGRAMS, run } from '../harness/processes.ts';

const FULL =
  /^berth-controller: .*no room is left on the disk of \S+: make room there .*then start again\. What was confirmed is kept$/;

describe.skipIf(process.getuid?.() !== 0)('a full disk', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start('127.0.0.1', {
      prepare: (dataDir) => execa('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', dataDir]),
    });
  });
  afterAll(async () => {
    await cluster.controller.end('SIGKILL');
    await execa('umount', [cluster.dataDir]);
    await cluster.stop();
  });

  /** Takes all the room that is left, until the answer is called. */
  function fill(): () => void {
    const file = join(cluster.dataDir, 'ballast');
    for (let size = 1 << 20; size >= 1; size >>= 1)
      try {
        for (;;) writeFileSync(file, Buffer.alloc(size), { flag: 'a' });
      } catch {
        // a smaller piece may still fit
      }
    return () => rmSync(file);
  }

  it('ends the controller with one line that tells what to do', async () => {
    await cluster.ok('host', 'add', 'kept', '127.0.0.1:1');
    const before = cluster.controller.output.length;
    const empty = fill();
    const refused = await cluster.berth('host', 'add', 'lost', '127.0.0.1:2');
    await eventually('the controller ends', async () => !cluster.controller.running);
    expect(refused.code).not.toBe(0);
    const [record, line, ...more] = cluster.controller.output.slice(before).trimEnd().split('\n');
    expect(JSON.parse(record ?? '')).toMatchObject({ level: 60, reason: 'DISK_FULL' });
    expect(line).toMatch(FULL);
    expect(more).toEqual([]);
    empty();
    cluster.controller.start();
    await eventually('the host is there', async () => (await cluster.ok('host', 'list', '-o', 'name')) === 'kept');
  });

  it('lets nothing else begin there, and nothing half done stay', async () => {
    const empty = fill();
    const dir = join(cluster.dataDir, 'another');
    mkdirSync(dir);
    const init = await run(PROGRAMS.controller, ['init', '--data-dir', dir, '--address', '127.0.0.1:9']);
    expect(init).toMatchObject({ code: 1, out: '' });
    expect(init.err).toMatch(FULL);
    empty();
    expect((await run(PROGRAMS.controller, ['init', '--data-dir', dir, '--address', '127.0.0.1:9'])).err).toBe('');
  });
});
