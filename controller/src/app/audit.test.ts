/** The audit log: what gets a row, what does not fill it, and how a database that was edited by hand is found out. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { sqliteWorkerFile } from '@berth/test/harness/sqlite-worker.ts';
import { actAs } from '../state/actor.ts';
import { openState } from '../state/open-state.ts';
import { aJob, aPool, aVm } from '../state/samples.ts';
import { initState } from '../state/sqlite/init.ts';
import { Sqlite } from '../state/sqlite/library.ts';
import type { State } from '../state/state.ts';
import { Audit, type AuditRetention } from './audit.ts';
import { HeadFile } from './audit-head.ts';
import { headText } from './audit-verify.ts';

const log = { info: vi.fn(), error: vi.fn(), fatal: vi.fn() };
let folder: string;
let path: string;
let state: State;
let audit: Audit;
let nowMs: number;
const clock = { ...systemClock, now: () => nowMs };

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-audit-'));
  path = join(folder, 'berth.db');
  nowMs = 1_700_000_000_000;
  initState({ path, clock });
  await open();
});
afterEach(async () => {
  await close();
  rmSync(folder, { recursive: true });
});

async function open(keep?: AuditRetention): Promise<void> {
  const onFatal = (e: unknown) => {
    throw e;
  };
  state = await openState({ path, clock, log, onFatal, workerFile: await sqliteWorkerFile() });
  const head = new HeadFile(join(folder, 'audit-head'), clock, log);
  audit = new Audit({ state, clock, log, head, ...(keep ? { keep } : {}) });
  await audit.start();
}
async function close(): Promise<void> {
  await audit.stop();
  await state.close().catch(() => undefined);
}

const ann = (method = 'VmService.CreateVm') => ({
  ...{ user: 'ann', tokenId: 'token-1', peer: '10.0.0.9', method, over: false },
});
const as = <T>(work: () => T): T => actAs(ann(), work);
const make = (name: string) => as(() => state.update((tx) => tx.vms.put(aVm({ name }))));
const rows = async (filter: Partial<Parameters<Audit['list']>[0]> = {}) =>
  (await audit.list({ user: '', object: '', outcome: '', sinceMs: 0, ...filter }, { pageSize: 1_000, pageToken: '' }))
    .items;
/** As somebody with a shell would. */
async function byHand(sql: string): Promise<void> {
  await close();
  const db = new Sqlite(path);
  db.exec(sql);
  db.close();
  await open();
}

describe('a change by a caller', () => {
  it('has its row in the same transaction: who, from where, what, before and after, without secrets', async () => {
    const vm = aVm({ name: 'web' });
    const spec = { ...vm.spec, userData: 'MARKER-1' };
    await as(() => state.update((tx) => tx.vms.put({ ...vm, spec })));
    await as(() => state.update((tx) => tx.vms.put({ ...vm, spec: { ...spec, vcpus: 7 }, generation: 2 })));
    const [changed, made] = await rows();
    expect(made).toMatchObject({
      user: 'ann',
      peer: '10.0.0.9',
      method: 'VmService.CreateVm',
      object: 'web',
      before: '',
    });
    expect(JSON.parse(changed!.before)).toEqual({
      'vm/web': { spec: expect.objectContaining({ vcpus: vm.spec.vcpus }) as unknown },
    });
    expect(JSON.parse(changed!.after)).toMatchObject({ 'vm/web': { spec: { vcpus: 7, userData: '[redacted]' } } });
    expect(JSON.stringify([changed, made])).not.toContain('MARKER-1');
    expect(changed!.revision).toBe(state.revision);
  });

  it('is told of a pool as well, but not its secret', async () => {
    const pool = aPool({ name: 'fast', secret: 'TUFSS0VS' });
    await as(() => state.update((tx) => tx.pools.put(pool)));
    await as(() => state.update((tx) => tx.pools.put({ ...pool, stopPercent: 50, secret: 'TUFSS0VSMg==' })));
    const [changed, made] = await rows({ object: 'fast' });
    expect(made).toMatchObject({ objectKind: 'pool', before: '' });
    expect(JSON.parse(changed!.after)).toEqual({ 'pool/fast': { stopPercent: 50, secret: '[redacted]' } });
    expect(JSON.stringify([changed, made])).not.toContain('TUFSS0VS');
  });

  it('is about the VM when it starts a job on it, so that whoever stopped or deleted it is found by its name', async () => {
    const job = aJob({ kind: 'vm.delete', subject: 'web' });
    await actAs(ann('VmService.DeleteVm'), () => state.update((tx) => tx.jobs.put(job)));
    await actAs(ann('JobService.CancelJob'), () =>
      state.update((tx) => tx.jobs.put({ ...job, cancelRequested: true })),
    );
    expect(await rows({ object: 'web' })).toMatchObject([
      { method: 'VmService.DeleteVm', objectKind: 'vm', object: 'web', jobId: job.id },
    ]);
    expect(await rows({ object: job.id })).toMatchObject([{ method: 'JobService.CancelJob', objectKind: 'job' }]);
  });

  it('has none when it is refused or changes nothing, and the controller itself has none', async () => {
    await expect(
      as(() =>
        state.update((tx) => {
          tx.vms.put(aVm({ name: 'a' }));
          throw new Error('no');
        }),
      ),
    ).rejects.toThrow('no');
    await as(() => state.update(() => undefined));
    await state.update((tx) => tx.vms.put(aVm({ name: 'b' })));
    expect(await rows()).toEqual([]);
  });

  it('has none for what merely follows from it: listeners, and what runs after the answer', async () => {
    const done = new Promise<void>((resolve) => {
      const stop = state.subscribe(() => {
        stop();
        void state.update((tx) => tx.vms.put(aVm({ name: 'follows' }))).then(resolve);
      });
    });
    const actor = ann();
    await actAs(actor, () => state.update((tx) => tx.vms.put(aVm({ name: 'first' }))));
    await done;
    actor.over = true;
    await actAs(actor, () => state.update((tx) => tx.vms.put(aVm({ name: 'late' }))));
    expect((await rows()).map((r) => r.object)).toEqual(['first']);
  });
});

describe('the list', () => {
  it('is filtered, and comes in pages from the newest on', async () => {
    for (let i = 0; i < 5; i++) await make(`vm${i}`);
    const all = { user: 'ann', object: '', outcome: 'done', sinceMs: 0 };
    const first = await audit.list(all, { pageSize: 2, pageToken: '' });
    const second = await audit.list(all, { pageSize: 3, pageToken: first.nextPageToken });
    expect([...first.items, ...second.items].map((r) => r.object)).toEqual(['vm4', 'vm3', 'vm2', 'vm1', 'vm0']);
    expect(second.nextPageToken).toBe('');
    expect(await rows({ object: 'vm3' })).toHaveLength(1);
    expect(await rows({ user: 'bob' })).toEqual([]);
    expect(await rows({ outcome: 'refused' })).toEqual([]);
    expect(await rows({ sinceMs: nowMs + 1 })).toEqual([]);
    await expect(rows({ outcome: 'odd' })).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });
});

describe('attempts that come to nothing', () => {
  const knock = (i: number) =>
    audit.attempt({
      ...{ user: '', tokenId: '', peer: '10.0.0.6', method: 'VmService.ListVms', objectKind: '', object: `o${i}` },
      ...{ outcome: 'refused', reason: 'UNAUTHENTICATED', message: 'x'.repeat(5_000) },
    });

  it('are written once, then counted', async () => {
    for (let i = 0; i < 1_000; i++) knock(0);
    await vi.waitFor(async () => expect(await rows()).toHaveLength(1));
    await close();
    await open();
    expect((await rows()).map((r) => r.count)).toEqual([999, 1]);
  });

  it('make no more rows than can be read, however many and different they are', async () => {
    for (let i = 0; i < 20_000; i++) knock(i);
    await close();
    await open();
    const all = await rows({ outcome: 'refused' });
    expect(all.reduce((sum, r) => sum + r.count, 0)).toBe(20_000);
    expect(all.length).toBeLessThanOrEqual(102);
    expect(Math.max(...all.map((r) => r.message.length))).toBeLessThan(400);
  });
});

describe('a log', () => {
  const verdict = () => audit.verify('');
  beforeEach(async () => {
    for (let i = 1; i <= 5; i++) await make(`vm${i}`);
  });

  it('that nobody touched holds together, also after a restart and with a head that was noted', async () => {
    const noted = headText(state.auditHead);
    await make('vm6');
    await close();
    await open();
    expect(await verdict()).toMatchObject({ ok: true, rows: 6, firstSeq: 1, problem: '' });
    expect(await audit.verify(noted)).toMatchObject({ ok: true });
    expect((await rows()).length).toBe(6);
  });

  it.each([
    ['a changed row', "UPDATE audit SET user = 'bob' WHERE seq = 3", 3, /row 3 is not as it was written/],
    ['a changed count', 'UPDATE audit SET count = 2 WHERE seq = 5', 5, /row 5 is not as it was written/],
    ['a row taken out of the middle', 'DELETE FROM audit WHERE seq = 3', 3, /row 3 is missing/],
    ['rows taken off the beginning', 'DELETE FROM audit WHERE seq <= 2', 2, /no row says that they were taken out/],
    [
      'rows that changed places',
      'UPDATE audit SET seq = -seq WHERE seq IN (2, 3); UPDATE audit SET seq = 5 + seq WHERE seq < 0',
      2,
      /row 2 /,
    ],
    ['rows taken off the end', 'DELETE FROM audit WHERE seq >= 4', 4, /row 4 is not the one|ends at row/],
  ])('with %s is found out, and the first broken row is named', async (_, sql, seq, words) => {
    const noted = headText(state.auditHead);
    await byHand(sql);
    const found = await audit.verify(noted);
    expect([found.ok, found.brokenSeq >= seq, found.brokenSeq <= 5]).toEqual([false, true, true]);
    if (seq < 4) expect(found.brokenSeq).toBe(seq);
    expect(found.problem).toMatch(seq < 4 || seq === 5 ? words : /./);
  });

  it('whose end was taken off says so in itself and by an alarm, because the head is kept beside it', async () => {
    await byHand('DELETE FROM audit WHERE seq >= 4');
    const [newest] = await rows();
    expect(newest).toMatchObject({ method: 'controller.checkAudit', outcome: 'failed' });
    expect(newest!.message).toMatch(/ends at row 3, but row 5 was written/);
    const events = await state.events({ limit: 10, subject: 'audit' });
    expect(events.at(-1)).toMatchObject({ type: 'audit.broken', severity: 'alarm' });
  });

  it('that was rewritten whole, hashes and file too, is found out by a head that was noted elsewhere', async () => {
    const noted = headText(state.auditHead);
    await close();
    rmSync(join(folder, 'audit-head'));
    const db = new Sqlite(path);
    db.exec('DELETE FROM audit');
    db.close();
    await open();
    for (let i = 1; i <= 6; i++) await make(`other${i}`);
    expect(await verdict()).toMatchObject({ ok: true });
    expect(await audit.verify(noted)).toMatchObject({ ok: false, brokenSeq: 5 });
  });

  it('loses its oldest rows by age and by number, and holds together still', async () => {
    await close();
    nowMs += 10_000;
    await open({ rows: 3, ms: 1e12 });
    await make('vm6');
    await audit.prune();
    expect(await verdict()).toMatchObject({ ok: true, firstSeq: 4 });
    nowMs += 2e12;
    await make('vm7');
    await audit.prune();
    await close();
    await open();
    expect(await verdict()).toMatchObject({ ok: true });
    expect((await rows()).some((r) => r.object === 'vm6')).toBe(false);
    await byHand(`DELETE FROM audit WHERE seq = (SELECT min(seq) FROM audit)`);
    expect((await verdict()).ok).toBe(false);
  });
});
