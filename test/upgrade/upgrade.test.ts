/** What any release has left on disk opens in this version, with everything in it; a migration that ends badly changes nothing. */
import { once } from 'node:events';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadIdentity } from '@berth/agent/enroll/identity-store.ts';
import { Ledger } from '@berth/agent/operations/ledger.ts';
import { checkDatabase } from '@berth/controller/backup/database-check.ts';
import { openDatabase } from '@berth/controller/state/sqlite/connection.ts';
import { Sqlite } from '@berth/controller/state/sqlite/library.ts';
import { MIGRATIONS } from '@berth/controller/state/sqlite/migrations.ts';
import { chain } from '@berth/shared/errors/cluster-error.ts';
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
      // later versions may say more of the same things
      expect(await inventoryOf(c)).toMatchObject({
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

function namesIn(path: string): string[] {
  const db = new Sqlite(path);
  try {
    return db.prepare('SELECT name FROM vms ORDER BY id').pluck().all() as string[];
  } finally {
    db.close();
  }
}

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

  it(
    'is the old one or the new one, and nothing between, whenever the migration is killed',
    { timeout: 180_000 },
    async () => {
      const program = await bundled('test/upgrade/slow-migration.ts');
      const known = MIGRATIONS.at(-1)!.version;
      const rows = 1_500;
      const ended = new Set<string>();
      // from before it begins until after it has ended: the later ones meet the commit and what is done after it
      for (let ms = 0; ms <= 3_000 && !(ended.has('new') && ms > 2_000); ms += 200) {
        const path = join(copyOf('today'), 'controller', 'berth.db');
        const [file, facts, names] = [readFileSync(path), checkDatabase(path), namesIn(path)];
        const child = execa('node', [program, path, String(rows)], { reject: false });
        await once(child.stdout, 'data');
        await systemClock.sleep(ms); // the moment is what is tried, not waited for
        child.kill('SIGKILL');
        await child;
        const db = new Sqlite(path);
        expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
        const version = db.pragma('user_version', { simple: true });
        const big = version === known ? 0 : (db.prepare('SELECT count(*) FROM big').pluck().get() as number);
        db.close();
        ended.add(version === known ? 'old' : 'new');
        if (version === known) {
          expect(readFileSync(path).equals(file)).toBe(true);
          expect(checkDatabase(path)).toEqual(facts);
        } else {
          expect([version, big]).toEqual([known + 1, rows]);
          expect(namesIn(path)).toEqual(names.map((n) => `${n}-migrated`));
        }
      }
      expect(ended.has('old')).toBe(true);
    },
  );

  it.skipIf(process.getuid?.() !== 0)(
    'is byte for byte as it was after the disk was full in the middle of a migration',
    async () => {
      const from = join(copyOf('today'), 'controller', 'berth.db');
      const dir = join(temporary.path, 'small-disk');
      mkdirSync(dir);
      await execa('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', dir]);
      try {
        const path = join(dir, 'berth.db');
        cpSync(from, path);
        const r = await execa('node', [await bundled('test/upgrade/slow-migration.ts'), path], { reject: false });
        expect(r.exitCode).toBe(1);
        expect(r.stderr).toMatch(
          /could not be migrated from schema \d+ to \d+; it is as it was \(database or disk is full\)/,
        );
        expect(readFileSync(path).equals(readFileSync(from))).toBe(true);
        expect(readdirSync(dir).filter((f) => !f.endsWith('.pid'))).toEqual(['berth.db']);
        expect(checkDatabase(path)).toEqual(checkDatabase(from));
      } finally {
        await execa('umount', [dir]);
      }
    },
  );

  it('with a row that belongs to nothing is not migrated, in one line, and stays as it is', () => {
    const path = join(copyOf('today'), 'controller', 'berth.db');
    const db = new Sqlite(path);
    db.pragma('foreign_keys = OFF');
    db.prepare("INSERT INTO claims VALUES ('vm-none', 'host-none', 1, 1, 1, 1, '{}')").run();
    db.close();
    const before = readFileSync(path);
    const migrations = [
      ...MIGRATIONS,
      { version: MIGRATIONS.at(-1)!.version + 1, sql: 'CREATE TABLE x (a TEXT) STRICT' },
    ];
    expect(() => openDatabase({ path, pid: 1, migrations })).toThrow(
      /could not be migrated .*; it is as it was \(rows refer to rows that do not exist/,
    );
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  it('with pages that are damaged is not migrated, and stays as it is', () => {
    const path = join(copyOf('today'), 'controller', 'berth.db');
    const file = readFileSync(path);
    const size = file.readUInt16BE(16);
    let refused = 0;
    for (let page = 1; page * size < file.length; page++) {
      const damaged = Buffer.from(file);
      damaged.fill(0x5a, page * size, page * size + 100);
      writeFileSync(path, damaged);
      const sql =
        "UPDATE vms SET name = name || '-x'; UPDATE hosts SET name = name || '-x'; DELETE FROM events; DELETE FROM audit;";
      const migrations = [...MIGRATIONS, { version: MIGRATIONS.at(-1)!.version + 1, sql }];
      try {
        openDatabase({ path, pid: 1, migrations }).close();
      } catch (e) {
        refused++;
        expect(chain(e)).toMatch(/it is as it was|is not a usable database/);
        expect(readFileSync(path).equals(damaged), `page ${page}`).toBe(true);
      }
    }
    expect(refused).toBeGreaterThan(3);
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
