/** Backups and restores of a data directory that no controller runs on. With running ones: test/integration/restore.test.ts. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { sqliteWorkerFile } from '@berth/test/harness/sqlite-worker.ts';
import { openState } from '../state/open-state.ts';
import { aHost, aJob, anImage, aVm } from '../state/samples.ts';
import { Sqlite } from '../state/sqlite/library.ts';
import type { State } from '../state/state.ts';
import { initialise } from '../trust/init.ts';
import { makeBackup } from './backup.ts';
import { Control } from './control.ts';
import { readBackup } from './read-backup.ts';
import { restoreBackup } from './restore.ts';

const log = createLog('test', 'silent');
const clock = systemClock;
let root = '';
let dataDir = '';
let dir = '';
let n = 0;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'berth-backup-'));
  dataDir = join(root, 'data');
  const workerFile = await sqliteWorkerFile();
  await initialise({ dataDir, addresses: ['127.0.0.1:7443'], clock, log, workerFile });
});
afterAll(() => rmSync(root, { recursive: true }));
beforeEach(() => {
  dir = join(root, String(n++));
  mkdirSync(dir);
});
afterEach(() => {
  expect(readdirSync(dir).filter((f) => f.includes('.half'))).toEqual([]);
});

const state = async (path = join(dataDir, 'berth.db')): Promise<State> =>
  openState({ path, clock, log, onFatal: () => undefined, workerFile: await sqliteWorkerFile() });
const backup = (to = join(dir, 'b'), passphrase?: string) =>
  makeBackup({ dataDir, to, configFile: undefined, passphrase, version: '1.2.3', clock });
const restore = async (file: string, to: string, o: { passphrase?: string; epoch?: number } = {}) =>
  restoreBackup({
    file,
    dataDir: to,
    passphrase: o.passphrase,
    epoch: o.epoch,
    clock,
    log,
    workerFile: await sqliteWorkerFile(),
  });

describe('a backup', () => {
  it('holds all that a controller needs, readable by nobody else, and never replaces a file', async () => {
    const { manifest } = await backup();
    expect(manifest).toMatchObject({ version: '1.2.3', online: false, database: { epoch: 1, rows: { tokens: 1 } } });
    expect(manifest.parts.map((p) => p.path)).toEqual([
      'data/berth.db',
      'data/admin-token',
      'data/installation.json',
      'data/trust/ca.pem',
      'data/trust/trust.json',
    ]);
    expect(statSync(join(dir, 'b')).mode & 0o777).toBe(0o600);
    await expect(backup()).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
    await expect(backup(join(dir, 'no', 'such'))).rejects.toThrow(/there is no folder/);
  });

  it('is made through the running controller, while that goes on writing', async () => {
    const running = await state();
    const control = new Control({ dataDir, state: running, clock, log });
    await control.start();
    try {
      let writing = true;
      const writer = (async () => {
        for (let i = 0; writing; i++) await running.update((tx) => tx.hosts.put(aHost({ name: `w${n}-${i}` })));
      })();
      const { manifest } = await backup();
      writing = false;
      await writer;
      expect(manifest.online).toBe(true);
      expect(manifest.database.rows['hosts']).toBeLessThanOrEqual(running.tables.hosts.size);
      expect(await readBackup(join(dir, 'b'), undefined)).toEqual(manifest);
      expect(readdirSync(join(dataDir, 'control'))).toEqual(['socket']);
    } finally {
      await running.update((tx) => [...tx.hosts.values()].forEach((h) => tx.hosts.delete(h.id)));
      await control.stop();
      await running.close();
    }
    expect(existsSync(join(dataDir, 'control'))).toBe(false);
  });

  it('of a database that somebody else holds without listening is refused, in words', async () => {
    const running = await state();
    await expect(backup()).rejects.toThrow(/in use by another controller/);
    await running.close();
    expect(readdirSync(dir)).toEqual([]);
  });

  it('is of one moment of a file that is replaced meanwhile, as those of certificates are when they are renewed', async () => {
    const file = join(dataDir, 'replaced.json');
    writeFileSync(file, 'before');
    // it is asked for the time between the sums and the writing
    const now = (): number => {
      writeFileSync(`${file}.new`, 'after, and longer');
      renameSync(`${file}.new`, file);
      return clock.now();
    };
    const to = join(dir, 'b');
    const o = { dataDir, to, configFile: undefined, passphrase: undefined, version: '1.2.3', clock: { now } };
    await makeBackup(o).finally(() => rmSync(file));
    const { parts } = await readBackup(to, undefined);
    expect(parts.find((p) => p.path.endsWith('replaced.json'))?.bytes).toBe('before'.length);
  });

  it('is refused where a byte of it was changed, and where it was cut, wherever that is', async () => {
    await backup();
    const good = readFileSync(join(dir, 'b'));
    const file = join(dir, 'bad');
    for (let at = 3; at < good.length; at += 4_999) {
      const bad = Buffer.from(good);
      bad[at] = bad[at]! ^ 0x20;
      writeFileSync(file, bad);
      await expect(readBackup(file, undefined), `byte ${at}`).rejects.toMatchObject({ reason: 'BAD_STATE' });
    }
    for (const bytes of [0, 100, 512, 5_000, good.length >> 1, good.length - 1024, good.length - 1]) {
      writeFileSync(file, good.subarray(0, bytes));
      await expect(readBackup(file, undefined), `${bytes} bytes`).rejects.toMatchObject({ reason: 'BAD_STATE' });
    }
    writeFileSync(file, Buffer.concat([good, Buffer.from('x')]));
    await expect(readBackup(file, undefined)).rejects.toThrow(/longer than it should be/);
    const changed = Buffer.from(good);
    const at = changed.indexOf('BEGIN PRIVATE KEY');
    changed[at + 40] = changed[at + 40]! ^ 1;
    writeFileSync(file, changed);
    await expect(readBackup(file, undefined)).rejects.toThrow(/SHA-256/);
  });

  it('under a passphrase tells nothing without it, and no byte of it can be changed', async () => {
    await backup(join(dir, 'b'), 'correct horse');
    const good = readFileSync(join(dir, 'b'));
    expect(good.includes('PRIVATE KEY')).toBe(false);
    await expect(readBackup(join(dir, 'b'), undefined)).rejects.toThrow(/encrypted: give --passphrase-file/);
    await expect(readBackup(join(dir, 'b'), 'wrong horse')).rejects.toThrow(/passphrase is not the right one/);
    await readBackup(join(dir, 'b'), 'correct horse');
    const file = join(dir, 'bad');
    for (const at of [20, 100, 70_000, good.length - 1]) {
      const bad = Buffer.from(good);
      bad[at] = bad[at]! ^ 1;
      writeFileSync(file, bad);
      await expect(readBackup(file, 'correct horse'), `byte ${at}`).rejects.toMatchObject({ reason: 'BAD_STATE' });
    }
    for (const bytes of [40, 34 + 65_552]) {
      writeFileSync(file, good.subarray(0, bytes));
      await expect(readBackup(file, 'correct horse'), `${bytes} bytes`).rejects.toMatchObject({ reason: 'BAD_STATE' });
    }
  });

  it('on a full disk ends in one line and leaves nothing', async () => {
    const to = join(dir, 'b');
    const { open } = await import('node:fs/promises');
    const proto = Object.getPrototypeOf(await open('/dev/null', 'w').then(async (f) => (await f.close(), f))) as {
      write: (...a: unknown[]) => Promise<unknown>;
    };
    const write = proto.write;
    let left = 3;
    proto.write = function (...a) {
      if (--left < 0) return Promise.reject(Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' }));
      return write.apply(this, a);
    };
    try {
      await expect(backup(to)).rejects.toMatchObject({ reason: 'DISK_FULL' });
    } finally {
      proto.write = write;
    }
    expect(readdirSync(dir)).toEqual([]);
  });

  it('sweeps up what one that was killed left under the same name', async () => {
    writeFileSync(join(dir, 'b.half-999999999'), 'x');
    writeFileSync(join(dir, 'b.half-999999999.db-wal'), 'x');
    await backup();
    expect(readdirSync(dir)).toEqual(['b']);
  });
});

const happened = (message: string) =>
  ({ type: 't', severity: 'info', subjectKind: 'vm', subject: 'web', message, jobId: undefined }) as const;

describe('a restore', () => {
  it('raises the epoch above all others, ends the jobs of then, and asks for a review of each host', async () => {
    const before = await state();
    const [host, other] = [aHost({ name: 'h1' }), aHost({ name: 'h2', certificateFingerprint: undefined })];
    const image = anImage({ name: 'half', state: 'importing', digest: undefined });
    const making = aVm({ name: 'making', phase: 'creating', hostId: host.id });
    const nowhere = aVm({ name: 'nowhere', phase: 'creating', hostId: undefined });
    const job = aJob({ state: 'running', locks: [`vm/${making.id}:exclusive`], kind: 'vm.create', subject: 'making' });
    await before.update((tx) => {
      for (const h of [host, other]) tx.hosts.put(h);
      tx.images.put(image);
      for (const vm of [making, nowhere]) tx.vms.put(vm);
      tx.jobs.put(job);
    });
    await before.close();
    await backup();
    const to = join(dir, 'new');
    const done = await restore(join(dir, 'b'), to);
    expect(done).toMatchObject({ hosts: 1, vms: 1, images: 0, endedJobs: ['vm.create making'] });
    expect(done.epoch).toBeGreaterThan(1_700_000_000);
    expect(readdirSync(to).sort()).toEqual(['admin-token', 'berth.db', 'installation.json', 'trust']);
    expect(statSync(join(to, 'trust', 'trust.json')).mode & 0o777).toBe(0o600);
    const after = await state(join(to, 'berth.db'));
    expect(after.epoch).toBe(done.epoch);
    expect(after.tables.jobs.get(job.id)).toMatchObject({ state: 'cancelled', locks: [] });
    expect([...after.tables.vms.values()].map((v) => [v.name, v.phase])).toEqual([['making', 'ready']]);
    expect([...after.tables.reviews.values()].map((r) => r.hostId)).toEqual([host.id]);
    await after.close();
    await expect(restore(join(dir, 'b'), join(dir, 'x'), { epoch: 1 })).rejects.toThrow(/above that of the backup/);
    expect((await restore(join(dir, 'b'), join(dir, 'x'), { epoch: 7 })).epoch).toBe(7);
    expect(existsSync(join(dir, 'x', '.restoring'))).toBe(false);
  });

  it('tells those who watched the controller of before all that happens now, whatever they had seen last', async () => {
    await backup();
    const before = await state();
    for (let i = 0; i < 20; i++) await before.update((tx) => tx.event(happened(`before ${i}`)));
    const seen = before.durableRevision;
    await before.close();
    const seenThen: number[] = [seen];
    for (const name of ['first', 'second']) {
      const to = join(dir, name);
      await restore(join(dir, 'b'), to);
      const after = await state(join(to, 'berth.db'));
      await after.update((tx) => tx.event(happened(name)));
      for (const revision of seenThen) {
        const told = await after.events({ afterRevision: revision, limit: 100 });
        expect(told.map((e) => e.type)).toContain('controller.restored');
        expect(told.at(-1)?.message).toBe(name);
        expect(told.filter((e) => e.message.startsWith('before'))).toEqual([]);
      }
      seenThen.push(after.durableRevision);
      await after.close();
    }
    expect(seenThen.every(Number.isSafeInteger)).toBe(true);
  });

  it('is refused where something is already, and leaves that as it was', async () => {
    await backup();
    const file = join(dir, 'b');
    await expect(restore(file, dataDir)).rejects.toThrow(/is not empty/);
    writeFileSync(`${join(dataDir, 'berth.db')}.pid`, `${process.pid}\n`);
    await expect(restore(file, dataDir)).rejects.toThrow(/is not empty/);
    mkdirSync(join(dir, 'left', '.restoring'), { recursive: true });
    await expect(restore(file, join(dir, 'left'))).rejects.toThrow(/interrupted restore/);
  });

  it('leaves nothing when the backup is bad: a new folder is gone again, an empty one empty', async () => {
    await backup();
    const file = join(dir, 'b');
    writeFileSync(file, readFileSync(file).subarray(0, -2_000));
    await expect(restore(file, join(dir, 'new'))).rejects.toThrow(/not whole|is missing/);
    expect(existsSync(join(dir, 'new'))).toBe(false);
    mkdirSync(join(dir, 'empty'));
    chmodSync(join(dir, 'empty'), 0o700);
    await expect(restore(file, join(dir, 'empty'))).rejects.toThrow();
    expect(readdirSync(join(dir, 'empty'))).toEqual([]);
  });

  it('refuses a backup of a newer version, and so does whoever checks it', async () => {
    await backup();
    const file = join(dir, 'newer');
    const good = readFileSync(join(dir, 'b'));
    const wanted = Buffer.from('"format": 1');
    const at = good.indexOf(wanted);
    good.write('"format": 9', at);
    writeFileSync(file, good);
    await expect(readBackup(file, undefined)).rejects.toThrow(/made by Berth 1\.2\.3 in a newer format \(9\)/);
    const raised = new Sqlite(join(dataDir, 'berth.db'));
    const schema = raised.pragma('user_version', { simple: true }) as number;
    raised.pragma('user_version = 900');
    raised.close();
    try {
      await expect(backup(join(dir, 'n'))).rejects.toThrow(/schema 900, this version knows/);
    } finally {
      const back = new Sqlite(join(dataDir, 'berth.db'));
      back.pragma(`user_version = ${schema}`);
      back.close();
    }
  });
});
