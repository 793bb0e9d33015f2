/** The ledger on disk: a crash at any byte, a full disk, compaction, and what is kept of the fence. */
import { appendFile, mkdtemp, open, readFile, rm, truncate, writeFile, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { mkdirSync } from 'node:fs';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { Ledger, type LedgerEntry } from './ledger.ts';

const log = createLog('test', 'silent');
const clock = new SimClock();
let dir = '';
const file = () => join(dir, 'operations', 'ledger.jsonl');
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-ledger-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const openLedger = (openFile?: (f: string, flags: string | number, mode: number) => Promise<FileHandle>) =>
  Ledger.open(dir, { clock, log }, openFile ? { openFile } : {});
const entry = (id: string, state: LedgerEntry['state'] = 'running'): Omit<LedgerEntry, 'atMs'> => ({
  id,
  kind: 'k',
  hash: `h-${id}`,
  request: { id },
  state,
  failure: undefined,
  again: false,
  image: undefined,
});
const content = (l: Ledger) => [...l.entries()].map((e) => `${e.id}=${e.state}`).sort();

describe('the operation ledger', () => {
  it('is, after a crash at any byte, as it was after one of the writes', async () => {
    const l = await openLedger();
    const states: string[][] = [[]];
    const steps = [
      () => l.put(entry('a.1')),
      () => l.putResult(entry('a.1', 'succeeded')),
      () => l.put(entry('b.1')),
      () => l.saveController({ installationId: 'i', epoch: 2, revision: 7, runId: 'run' }),
      () => l.drop('b.1'),
      () => l.putResult(entry('ü.2', 'cancelled')),
      () => l.acknowledge(['a.']),
    ];
    for (const step of steps) {
      await step();
      states.push(content(l));
    }
    await l.close();
    const whole = await readFile(file());
    let before = 0;
    for (let bytes = 0; bytes <= whole.length; bytes++) {
      await writeFile(file(), whole.subarray(0, bytes));
      const again = await openLedger();
      const at = states.findIndex((s, i) => i >= before && s.join() === content(again).join());
      expect(at, `after ${bytes} bytes`).toBeGreaterThanOrEqual(0);
      before = at;
      await again.put(entry('new'));
      await again.close();
      expect(content(await openLedger())).toContain('new=running');
    }
  });

  it('notes nothing when the disk is full, and goes on when there is room', async () => {
    let full = false;
    const openFile = async (f: string, flags: string | number, mode: number): Promise<FileHandle> => {
      const handle = await open(f, flags, mode);
      const write = handle.write.bind(handle) as (...args: unknown[]) => Promise<{ bytesWritten: number }>;
      const limited = async (bytes: Buffer, at: number, length: number, position: number) => {
        if (!full) return write(bytes, at, length, position);
        await write(bytes, at, 5, position);
        throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      };
      return Object.assign(handle, { write: limited as unknown as FileHandle['write'] });
    };
    const l = await openLedger(openFile);
    await l.put(entry('a.1'));
    full = true;
    await expect(l.put(entry('a.2'))).rejects.toMatchObject({ reason: 'DISK_FULL' });
    await l.putResult(entry('a.1', 'succeeded'));
    expect(content(l)).toEqual(['a.1=succeeded']);
    expect(content(await openLedger())).toEqual(['a.1=running']);
    full = false;
    await l.put(entry('a.3'));
    await l.close();
    expect(content(await openLedger())).toEqual(['a.1=succeeded', 'a.3=running']);
  });

  it('writes one file after many operations, not a longer and longer one', async () => {
    const l = await openLedger();
    const text = 'x'.repeat(2_000);
    for (let i = 0; i < 400; i++) await l.put({ ...entry('same.1'), request: text });
    await l.saveController({ installationId: 'i', epoch: 3, revision: 9, runId: 'run' });
    await l.close();
    expect((await readFile(file())).length).toBeLessThan(400_000);
    const again = await openLedger();
    expect(content(again)).toEqual(['same.1=running']);
    expect(again.controller).toEqual({ installationId: 'i', epoch: 3, revision: 9, runId: 'run' });
  });

  it('leaves damaged lines out and keeps the rest', async () => {
    const l = await openLedger();
    await l.put(entry('a.1'));
    await l.close();
    await appendFile(file(), 'garbage\n{"t":"op"\n');
    const again = await openLedger();
    await again.put(entry('a.2'));
    expect(content(again)).toEqual(['a.1=running', 'a.2=running']);
    await again.close();
    await truncate(file(), 0);
  });

  it('comes back from disk as it was, whatever was done to it', async () => {
    const id = fc.constantFrom('a.1', 'a.2', 'b.1', 'b.2');
    const step = fc.oneof(
      fc.record({ do: fc.constant('put' as const), id }),
      fc.record({ do: fc.constant('end' as const), id }),
      fc.record({ do: fc.constant('drop' as const), id }),
      fc.record({ do: fc.constant('ack' as const), id: fc.constantFrom('a.', 'b.') }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        await rm(file(), { force: true });
        mkdirSync(dirname(file()), { recursive: true });
        const l = await openLedger();
        await Promise.all(
          steps.map((s) => {
            if (s.do === 'put') return l.put(entry(s.id));
            if (s.do === 'end') return l.putResult(entry(s.id, 'succeeded'));
            return s.do === 'drop' ? l.drop(s.id) : l.acknowledge([s.id]);
          }),
        );
        const before = content(l);
        await l.close();
        expect(content(await openLedger())).toEqual(before);
      }),
      { numRuns: 60 },
    );
  });
});
