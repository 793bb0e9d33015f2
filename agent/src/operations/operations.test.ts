/** Operations: once per id, cancel and tombstones, bounded long work, and taking up after a restart. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { until } from '@berth/test/harness/until.ts';
import { Ledger } from './ledger.ts';
import type { OperationKind, OperationView, Work } from './operation.ts';
import { Operations } from './operations.ts';

const log = createLog('test', 'silent');
let dir = '';
let ledger: Ledger;
let operations: Operations;

const open = async (): Promise<void> => {
  ledger = await Ledger.open(dir, { clock: systemClock, log });
  operations = new Operations(ledger, systemClock, log);
};
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-operations-'));
  await open();
});
afterEach(async () => {
  await operations.stop();
  await ledger.close();
  await rm(dir, { recursive: true, force: true });
});

const restart = async (): Promise<void> => {
  await operations.stop();
  await ledger.close();
  await open();
};

/** A kind whose runs end when the test says so. */
function gated(name: string, atOnce?: number) {
  const runs: { request: string; work: Work; end(): void; fail(e: unknown): void }[] = [];
  const abandoned: string[] = [];
  const kind: OperationKind<string> = {
    name,
    ...(atOnce === undefined ? {} : { long: { atOnce } }),
    lockKey: (r) => r,
    run: (request, work) =>
      new Promise<void>((resolve, reject) => {
        runs.push({ request, work, end: () => resolve(), fail: reject });
        if (atOnce !== undefined) work.signal.addEventListener('abort', () => reject(work.signal.reason as Error));
      }),
    abandon: async (r) => void abandoned.push(r),
  };
  return { kind: operations.define(kind), runs, abandoned };
}
const state = (v: OperationView) => v.state;

describe('operations', () => {
  it('runs a request once, however often and at the same time it is asked for', async () => {
    const { kind, runs } = gated('short');
    const asked = [operations.run(kind, 'j.1', 'x'), operations.run(kind, 'j.1', 'x')];
    await until('it runs', () => runs.length);
    asked.push(operations.run(kind, 'j.1', 'x'));
    runs[0]?.end();
    expect((await Promise.all(asked)).map(state)).toEqual(['succeeded', 'succeeded', 'succeeded']);
    expect(await operations.run(kind, 'j.1', 'x')).toMatchObject({ state: 'succeeded' });
    expect(runs).toHaveLength(1);
  });

  it('lets a success clear up only what nobody needs any more: when the ledger has it on disk', async () => {
    const onDisk: unknown[] = [];
    const again = async () => (await Ledger.open(dir, { clock: systemClock, log })).get('j.1')?.state;
    const kind = operations.define<string>({
      name: 'long',
      long: { atOnce: 1 },
      lockKey: (r) => r,
      run: async () => void onDisk.push(await again()),
      succeeded: async () => void onDisk.push(await again()),
    });
    await operations.run(kind, 'j.1', 'x');
    await until('it ends', () => operations.get('j.1').state === 'succeeded');
    expect(onDisk).toEqual(['running', 'succeeded']);
  });

  it('gives the same failure again, and after a restart', async () => {
    const { kind, runs } = gated('short');
    const asked = operations.run(kind, 'j.1', 'x');
    (await until('it runs', () => runs[0])).fail(new ClusterError('BAD_STATE', 'no'));
    expect(await asked).toMatchObject({ state: 'failed', failure: { reason: 'BAD_STATE', message: 'no' } });
    await restart();
    const again = gated('short');
    expect(await operations.run(again.kind, 'j.1', 'x')).toMatchObject({
      failure: { reason: 'BAD_STATE', message: 'no' },
    });
    expect(again.runs).toHaveLength(0);
  });

  it('keeps its own faults to the log and gives a trace id', async () => {
    const { kind, runs } = gated('short');
    const asked = operations.run(kind, 'j.1', 'x');
    (await until('it runs', () => runs[0])).fail(new TypeError('secret detail'));
    const { failure } = await asked;
    expect(failure).toMatchObject({ reason: 'INTERNAL' });
    expect(failure?.message).toMatch(/trace [0-9a-f]{16}/);
    expect(failure?.message).not.toContain('secret');
  });

  it('lets a long operation that failed for now be tried again under its id', async () => {
    const { kind, runs } = gated('long', 2);
    expect(await operations.run(kind, 'j.1', 'x')).toMatchObject({ state: 'running' });
    (await until('it runs', () => runs[0])).fail(new ClusterError('DISK_FULL', 'full'));
    await until('it failed', () => operations.get('j.1').state === 'failed');
    expect(operations.get('j.1')).toMatchObject({ failure: { reason: 'DISK_FULL' } });
    expect(await operations.run(kind, 'j.1', 'x')).toMatchObject({ state: 'running' });
    (await until('it runs again', () => runs[1])).end();
    await until('it succeeded', () => operations.get('j.1').state === 'succeeded');
  });

  it('cancels: waits for the end, clears away, and refuses a late arrival, also after a restart', async () => {
    const { kind, runs, abandoned } = gated('long', 2);
    await operations.run(kind, 'j.1', 'x');
    await until('it runs', () => runs[0]);
    expect((await Promise.all([operations.cancel('j.1'), operations.cancel('j.1')])).map(state)).toEqual([
      'cancelled',
      'cancelled',
    ]);
    expect(abandoned).toEqual(['x']);
    await operations.cancel('j.2');
    await restart();
    const again = gated('long', 2);
    for (const id of ['j.1', 'j.2'])
      await expect(operations.run(again.kind, id, 'x')).rejects.toMatchObject({ reason: 'CANCELLED' });
    expect(again.runs).toHaveLength(0);
  });

  it('cancels one that waits for its turn, and one that failed for now', async () => {
    const { kind, runs, abandoned } = gated('long', 1);
    await operations.run(kind, 'j.1', 'a');
    await operations.run(kind, 'j.2', 'b');
    await until('one runs', () => runs.length === 1);
    expect(await operations.cancel('j.2')).toMatchObject({ state: 'cancelled' });
    runs[0]?.fail(new ClusterError('DISK_FULL', 'full'));
    await until('it failed', () => operations.get('j.1').state === 'failed');
    expect(await operations.cancel('j.1')).toMatchObject({ state: 'cancelled' });
    expect(abandoned).toEqual(['b', 'a']);
  });

  it('asks one that is cancelled in the queue, after a restart, what it had made before', async () => {
    const image = { digest: 'sha256:ab', virtualSizeBytes: 1, fileBytes: 1, sourceDigest: 'cd' };
    const before = gated('long', 2);
    for (const id of ['j.1', 'j.2', 'j.3']) await operations.run(before.kind, id, id);
    await until('two run', () => before.runs.length === 2);
    await restart();
    const seen: string[] = [];
    const abandoned: string[] = [];
    operations.define<string>({
      name: 'long',
      long: { atOnce: 1 },
      lockKey: (r) => r,
      async run(request, { signal }) {
        seen.push(`${request} ${signal.aborted ? 'cancelled' : 'runs'}`);
        if (request === 'j.2') return image;
        if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
        throw signal.reason;
      },
      abandon: async (r) => void abandoned.push(r),
    });
    await operations.recover();
    await until('the first runs', () => seen.length === 1);
    expect(await operations.cancel('j.2')).toMatchObject({ state: 'succeeded', image });
    expect(await operations.cancel('j.3')).toMatchObject({ state: 'cancelled' });
    expect([seen, abandoned]).toEqual([['j.1 runs', 'j.2 cancelled', 'j.3 cancelled'], ['j.3']]);
  });

  it('clears away what a long operation left that failed for good', async () => {
    const { kind, runs, abandoned } = gated('long', 1);
    await operations.run(kind, 'j.1', 'x');
    (await until('it runs', () => runs[0])).fail(new ClusterError('UNSAFE_IMAGE', 'no image'));
    await until('it failed', () => operations.get('j.1').state === 'failed');
    expect(abandoned).toEqual(['x']);
  });

  it('leaves a finished operation as it is when it is cancelled', async () => {
    const { kind, runs } = gated('short');
    const asked = operations.run(kind, 'j.1', 'x');
    (await until('it runs', () => runs[0])).end();
    await asked;
    expect(await operations.cancel('j.1')).toMatchObject({ state: 'succeeded' });
  });

  it('runs so many long ones at once, in the order they came', async () => {
    const { kind, runs } = gated('long', 2);
    for (const r of ['a', 'b', 'c', 'd']) await operations.run(kind, `j.${r}`, r);
    await until('two run', () => runs.length === 2);
    runs[1]?.end();
    await until('a third runs', () => runs.length === 3);
    expect(runs.map((r) => r.request)).toEqual(['a', 'b', 'c']);
  });

  it('takes long ones up again after a restart and forgets short ones', async () => {
    const short = gated('short');
    const long = gated('long', 2);
    const asked = operations.run(short.kind, 'j.short', 'x');
    const refused = expect(asked).rejects.toThrow();
    await operations.run(long.kind, 'j.long', 'y');
    await until('both run', () => short.runs.length + long.runs.length === 2);
    const stopped = restart();
    short.runs[0]?.fail(new Error('the process ended'));
    await Promise.all([stopped, refused]);
    const [shortAgain, longAgain] = [gated('short'), gated('long', 2)];
    await operations.recover();
    (await until('the long one runs', () => longAgain.runs[0])).end();
    await until('it succeeded', () => operations.get('j.long').state === 'succeeded');
    expect(() => operations.get('j.short')).toThrow(/no record/);
    expect(shortAgain.runs).toHaveLength(0);
  });

  it('tells progress at intervals, and every need and end', async () => {
    const { kind, runs } = gated('long', 1);
    const told: OperationView[] = [];
    operations.subscribe((v) => told.push(v));
    await operations.run(kind, 'j.1', 'x');
    const run = await until('it runs', () => runs[0]);
    for (let i = 1; i <= 100; i++) run.work.onProgress(i, 100);
    await until('progress', () => told.length);
    run.work.readFrom('host-a');
    expect(operations.get('j.1').sourceHostId).toBe('host-a');
    run.work.readFrom(undefined);
    expect(operations.get('j.1').sourceHostId).toBeUndefined();
    run.work.needSource(true);
    run.end();
    await until('the end', () => told.length === 3);
    expect(told.map((v) => [v.state, v.doneBytes, v.needsSource])).toEqual([
      ['running', 100, false],
      ['running', 100, true],
      ['succeeded', 100, false],
    ]);
  });

  it('forgets what was acknowledged, and nothing that runs', async () => {
    const { kind, runs } = gated('long', 2);
    await operations.run(kind, 'job-1.a', 'x');
    await operations.run(kind, 'job-1.b', 'y');
    (await until('both run', () => runs[1] && runs[0])).end();
    await until('one ended', () => operations.get('job-1.a').state === 'succeeded');
    await operations.acknowledge(['job-1.']);
    expect(operations.list().map((v) => v.id)).toEqual(['job-1.b']);
    await expect(operations.acknowledge([''])).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });

  it.each(['', 'a b', '../x', 'a/b', 'x'.repeat(201)])('refuses the id %j', async (id) => {
    const { kind } = gated('short');
    await expect(operations.run(kind, id, 'x')).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });
});
