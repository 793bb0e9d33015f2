/** The state over a real SQLite file and its thread. What the store does above the seam is store.test.ts's. */
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Job } from '@berth/shared/model/job.ts';
import { expectGolden } from '@berth/test/harness/golden.ts';
import { sqliteWorkerFile } from '@berth/test/harness/sqlite-worker.ts';
import { checkDatabase } from '../../backup/database-check.ts';
import { openState } from '../open-state.ts';
import { aHost, aJob, anImage, aVm } from '../samples.ts';
import type { State } from '../state.ts';
import { Sqlite } from './library.ts';
import { migrate, openDatabase } from './connection.ts';
import { initState } from './init.ts';
import { MIGRATIONS } from './migrations.ts';

const clock = { now: () => 1_700_000_000_000 };
const log = { error: vi.fn(), fatal: vi.fn() };
let folder: string;
let path: string;
const opened: State[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-state-'));
  path = join(folder, 'db', 'state.db');
});
afterEach(async () => {
  for (const s of opened.splice(0)) await s.close().catch(() => {});
  rmSync(folder, { recursive: true });
});

const open = async (onFatal: (e: unknown) => void = () => {}): Promise<State> => {
  const state = await openState({ path, clock, log, onFatal, workerFile: await sqliteWorkerFile() });
  opened.push(state);
  return state;
};
const plain = (v: unknown): unknown => JSON.parse(JSON.stringify(v));

test('a database is made once and never overwritten', async () => {
  const { installationId } = initState({ path, clock });
  expect(() => initState({ path, clock })).toThrow(`${path} already exists`);
  const state = await open();
  expect(state).toMatchObject({ installationId, epoch: 1, revision: 0 });
});

test('all rows come back as they were, and so do revisions, job logs and history', async () => {
  initState({ path, clock });
  const first = await open();
  const host = aHost({ name: 'h1', maintenance: true, certificateFingerprint: undefined });
  const image = anImage({});
  const vm = aVm({ name: 'web', hostId: host.id, imageId: image.id });
  const job = aJob({ locks: [`vm/${vm.id}:exclusive`], waiters: [aJob({}).id], key: 'k' });
  const claim = { vmId: vm.id, hostId: host.id, vcpus: 2, memoryBytes: 2 ** 40, diskBytes: 2 ** 41, powered: true };
  await first.update((tx) => {
    tx.vms.put(vm);
    tx.hosts.put(host);
    tx.images.put(image);
    tx.claims.put(claim);
    tx.imageCopies.put({ imageId: image.id, hostId: host.id, fileBytes: 5 });
    tx.jobs.put(job);
    tx.appendJobEvent(job.id, { step: 'place', type: 'started' });
    tx.appendJobEvent(job.id, { step: 'place', type: 'succeeded', data: { hostId: host.id } });
  });
  await first.update((tx) => tx.vms.put({ ...vm, generation: 2 }));
  await first.close();
  const again = await open();
  expect(again.revision).toBe(2);
  expect(plain(again.tables.vms.byName('web'))).toEqual(plain({ ...vm, generation: 2 }));
  expect(plain(again.tables.hosts.byName('h1'))).toEqual(plain(host));
  expect(again.tables.claims.get(vm.id)).toEqual(claim);
  expect([...again.tables.imageCopies.values()]).toEqual([{ imageId: image.id, hostId: host.id, fileBytes: 5 }]);
  expect(plain(again.tables.jobs.byKey('k'))).toEqual(plain(job));
  expect(again.jobLog(job.id).map((e) => [e.type, e.data])).toEqual([
    ['started', undefined],
    ['succeeded', { hostId: host.id }],
  ]);
  const [stored] = await again.jobHistory({ limit: 5 });
  expect(plain(stored!.job)).toEqual(plain(job));
  expect(stored!.log).toHaveLength(2);
  await again.update((tx) => (tx.vms.delete(vm.id), tx.hosts.delete(host.id), tx.images.delete(image.id)));
});

test('values that are swapped within one commit are no conflict', async () => {
  initState({ path, clock });
  const state = await open();
  const [a, b] = [aHost({ name: 'a' }), aHost({ name: 'b' })];
  await state.update((tx) => (tx.hosts.put(a), tx.hosts.put(b)));
  await state.update((tx) => {
    tx.hosts.put({ ...a, name: 'tmp' });
    tx.hosts.put({ ...b, name: 'a' });
    tx.hosts.put({ ...a, name: 'b' });
  });
  await state.close();
  expect((await open()).tables.hosts.byName('a')?.id).toBe(b.id);
});

test('a second controller on the same database is refused with the pid of the first', async () => {
  initState({ path, clock });
  await open();
  await expect(open()).rejects.toThrow(`in use by another controller (pid ${process.pid})`);
});

test('a path without a database, and a file that is none, are refused in words', async () => {
  await expect(open()).rejects.toThrow('create one with berth-controller init');
  initState({ path, clock });
  copyFileSync(new URL(import.meta.url), path);
  await expect(open()).rejects.toThrow('is not a usable database');
});

test.each(['{', '', 'x'])('a row whose body is %j is told in one line, and the file stays as it is', async (body) => {
  initState({ path, clock });
  const state = await open();
  await state.update((tx) => tx.hosts.put(aHost({ name: 'a' })));
  await state.close();
  const db = new Sqlite(path);
  db.prepare('UPDATE hosts SET body = ?').run(body);
  db.close();
  const before = readFileSync(path);
  await expect(open()).rejects.toMatchObject({
    reason: 'BAD_STATE',
    message: expect.stringMatching(`^the database is damaged: table hosts has a row that cannot be read`) as string,
  });
  expect(readFileSync(path).equals(before)).toBe(true);
  expect(() => checkDatabase(path)).toThrow('table hosts has a row that cannot be read');
});

test('a copy is for its owner alone, and never in the place of something', async () => {
  initState({ path, clock });
  const state = await open();
  await state.update((tx) => tx.hosts.put(aHost({ name: 'a' })));
  const to = join(folder, 'copy.db');
  await state.copyTo(to);
  expect(statSync(to).mode & 0o777).toBe(0o600);
  expect(checkDatabase(to).rows).toMatchObject({ hosts: 1 });
  const before = readFileSync(to);
  await expect(state.copyTo(to)).rejects.toMatchObject({ reason: 'BAD_STATE' });
  expect(readFileSync(to).equals(before)).toBe(true);
});

test('events are read newest last, in whole revisions, by subject', async () => {
  initState({ path, clock });
  const state = await open();
  const e = { type: 't', severity: 'info', subjectKind: 'vm', message: 'm', jobId: undefined } as const;
  await state.update((tx) => ['a', 'b', 'a'].forEach((subject) => tx.event({ ...e, subject })));
  await state.update((tx) => tx.event({ ...e, subject: 'c' }));
  const subjects = async (q: Parameters<State['events']>[0]) => (await state.events(q)).map((x) => x.subject).join('');
  expect(await subjects({ limit: 2 })).toBe('ac');
  expect(await subjects({ limit: 1, afterRevision: 0 })).toBe('aba');
  expect(await subjects({ limit: 10, afterRevision: 1 })).toBe('c');
  expect(await subjects({ limit: 10, subject: 'a' })).toBe('aa');
});

test('history has a bound in time', async () => {
  initState({ path, clock });
  const state = await open();
  const old = aJob({ state: 'succeeded', endedAtMs: clock.now() - 31 * 86_400_000 });
  const fresh: Job = { ...aJob({ state: 'succeeded' }), endedAtMs: clock.now() };
  await state.update((tx) => (tx.jobs.put(old), tx.jobs.put(fresh)));
  await Promise.all(
    Array.from({ length: 1000 }, (_, n) => state.update((tx) => tx.jobs.put({ ...fresh, version: n }))),
  );
  expect((await state.jobHistory({ limit: 10 })).map((s) => s.job.id)).toEqual([fresh.id]);
});

test('a commit that fails stops the process, and no update is answered', async () => {
  initState({ path, clock });
  const onFatal = vi.fn();
  const state = await open(onFatal);
  const unstorable = aHost({ createdAtMs: 'not a number' as unknown as number });
  await expect(state.update((tx) => tx.hosts.put(unstorable))).rejects.toThrow('could not be made durable');
  expect(onFatal).toHaveBeenCalledOnce();
});

test('the schema is the golden one', () => {
  initState({ path, clock });
  const db = new Sqlite(path, { readonly: true });
  const sql = db.prepare('SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name').pluck().all();
  db.close();
  expectGolden(import.meta.url, 'schema.sql', `${sql.join(';\n')};\n`);
});

test('tokens of the time before users get their users, with the highest role that is still in use', async () => {
  const old = openDatabase({ path: join(folder, 'old.db'), pid: 1, create: true, migrations: MIGRATIONS.slice(0, 1) });
  const put = old.prepare("INSERT INTO tokens VALUES (?, ?, ?, 'ab', ?, ?, '{}')");
  const [over, valid] = [1_000, 4_000_000_000_000];
  put.run('token-000000000000000000001', 'ann', 'viewer', 10, valid);
  put.run('token-000000000000000000002', 'ann', 'operator', 20, valid);
  put.run('token-000000000000000000003', 'ann', 'admin', 30, over);
  put.run('token-000000000000000000004', 'admin', 'admin', 40, valid);
  old.prepare("INSERT INTO meta VALUES (1, 'installation-000000000000000000000', 1, 5)").run();
  old.close();
  path = join(folder, 'old.db');
  const { users, tokens } = (await open()).tables;
  expect([...users.values()].map((u) => [u.id, u.name, u.kind, u.grants])).toEqual([
    ['user-000000000000000000001', 'ann', 'person', [{ role: 'operator', cluster: '', selector: '' }]],
    ['user-000000000000000000004', 'admin', 'person', [{ role: 'admin', cluster: '', selector: '' }]],
  ]);
  expect(tokens.byUser('ann')).toHaveLength(3);
});

test('a migration that fails leaves the file as it was, and a newer schema is refused', () => {
  initState({ path, clock });
  const before = readFileSync(path);
  const newest = MIGRATIONS.at(-1)!.version;
  const next = newest + 1;
  const bad = [
    ...MIGRATIONS,
    { version: next, sql: 'CREATE TABLE x (a TEXT) STRICT; INSERT INTO nowhere VALUES (1);' },
  ];
  expect(() => openDatabase({ path, pid: 1, migrations: bad })).toThrow('it is as it was');
  expect(readFileSync(path).equals(before)).toBe(true);
  const db = openDatabase({
    path,
    pid: 1,
    migrations: [...MIGRATIONS, { version: next, sql: 'CREATE TABLE x (a TEXT) STRICT' }],
  });
  expect(() => migrate(db, MIGRATIONS)).toThrow(`the database has schema ${next}, this version knows ${newest}`);
  db.close();
  expect(existsSync(`${path}-wal`)).toBe(false);
});
