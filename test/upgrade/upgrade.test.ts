/** What any release has left on disk opens in this version, with everything in it; a migration that ends badly changes nothing. */
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadIdentity } from '@berth/agent/enroll/identity-store.ts';
import { Ledger } from '@berth/agent/operations/ledger.ts';
import { checkDatabase } from '@berth/controller/backup/database-check.ts';
import { Sqlite } from '@berth/controller/state/sqlite/library.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { findRoot } from '@berth/deploy/setup/root.js';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Cluster, freePort } from '../harness/cluster.ts';
import { Daemon, eventually, PROGRAMS, run, temporaryDirectory } from '../harness/processes.ts';
import { bundled } from '../harness/sqlite-worker.ts';
import { inventoryOf, makeFixture, type Expected } from './fixture.ts';

const released = readdirSync(import.meta.dirname, { withFileTypes: true }).flatMap((e) =>
  e.isDirectory() ? [e.name] : [],
);
const temporary = temporaryDirectory();
beforeAll(() => makeFixture(join(temporary.path, 'today'), 'today'), 120_000);
afterAll(() => temporary.remove());

it('every version in the changelog has a folder here', () => {
  const changelog = readFileSync(join(findRoot(), 'CHANGELOG.md'), 'utf8');
  const versions = [...changelog.matchAll(/^## (\d+\.\d+\.\d+)/gm)].map((m) => m[1] ?? '');
  expect(versions.length).toBeGreaterThan(0);
  expect(released.sort()).toEqual(versions.sort());
});

let copies = 0;
function copyOf(version: string): string {
  const from = version === 'today' ? join(temporary.path, 'today') : join(import.meta.dirname, version);
  const to = join(temporary.path, `copy-${++copies}`);
  cpSync(from, to, { recursive: true });
  // version control keeps no modes
  for (const file of readdirSync(to, { recursive: true }) as string[]) {
    const path = join(to, file);
    chmodSync(path, statSync(path).isDirectory() ? 0o700 : 0o600);
  }
  return to;
}

describe.each([...released, 'today'])('what version %s has left', (version) => {
  it('opens in this version with its whole inventory, and its administrator can log in', async () => {
    const dir = copyOf(version);
    const expected = JSON.parse(readFileSync(join(dir, 'expected.json'), 'utf8')) as Expected;
    const c = await Cluster.over(join(dir, 'controller'));
    try {
      expect(await inventoryOf(c)).toEqual({
        hosts: expected.hosts,
        vms: expected.vms,
        images: expected.images,
        tokens: expected.tokens,
        jobs: expected.jobs,
      });
    } finally {
      await c.stop();
    }
  });

  it('is read by the agent: its identity, its operations, and the controller that it obeys', async () => {
    const dir = copyOf(version);
    const expected = JSON.parse(readFileSync(join(dir, 'expected.json'), 'utf8')) as Expected;
    const agentDir = join(dir, 'agent');
    expect((await loadIdentity(agentDir)).hostName).toBe('h1');
    const ledger = await Ledger.open(agentDir, { clock: systemClock, log: createLog('test', 'silent') });
    const ids = [...ledger.entries()].filter((e) => !e.kind.startsWith('~')).map((e) => e.id);
    expect(ids.sort()).toEqual(expected.operations);
    expect(ledger.controller).toMatchObject({ epoch: expected.epoch });
    await ledger.close();
    const config = join(dir, 'agent.yaml');
    const [port, peerPort] = [await freePort('127.0.0.1'), await freePort('127.0.0.1')];
    writeFileSync(config, `dataDir: ${agentDir}\nlisten: 127.0.0.1:${port}\npeerListen: 127.0.0.1:${peerPort}\n`);
    const agent = new Daemon(PROGRAMS.agent, ['run', '--simulate', '--config', config]);
    agent.start();
    try {
      await eventually('the agent is ready', async () => /the agent is up/.test(agent.output));
    } finally {
      await agent.end();
    }
  });
});

describe('a database', () => {
  it('is byte for byte as it was after a migration was killed in its middle, and opens again', async () => {
    const dir = copyOf('today');
    const path = join(dir, 'controller', 'berth.db');
    const before = readFileSync(path);
    const facts = checkDatabase(path);
    const child = execa('node', [await bundled('test/upgrade/slow-migration.ts'), path], { reject: false });
    await eventually('the migration is in its middle', async () => {
      const wal = `${path}-wal`;
      return existsSync(wal) && statSync(wal).size > 80 * 2 ** 20;
    });
    child.kill('SIGKILL');
    await child;
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(checkDatabase(path)).toEqual(facts);
  });

  it('of a newer version is refused in one line, and stays as it is', async () => {
    const dir = copyOf('today');
    const path = join(dir, 'controller', 'berth.db');
    const db = new Sqlite(path);
    db.pragma('user_version = 900');
    db.close();
    const before = readFileSync(path);
    const said = await run(PROGRAMS.controller, [
      'run',
      '--data-dir',
      join(dir, 'controller'),
      '--listen',
      '127.0.0.1:0',
    ]);
    expect(said.code).toBe(1);
    expect(said.err.trim().split('\n')).toEqual([
      expect.stringMatching(/^berth-controller: the database has schema 900, this version knows \d+; run the version/),
    ]);
    expect(readFileSync(path).equals(before)).toBe(true);
  });
});
