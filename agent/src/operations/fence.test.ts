/** The fence: which controllers may command the host, and what is on disk before they do. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { FenceKeeper, type Fence } from './fence.ts';
import { Ledger } from './ledger.ts';

const log = createLog('test', 'silent');
const from = (over: Partial<Fence> = {}): Fence => ({
  installationId: 'i',
  epoch: 1,
  revision: 10,
  runId: 'a',
  formerRunIds: [],
  ...over,
});
const WRONG = { reason: 'WRONG_CONTROLLER' };
let dir = '';
let clock: SimClock;
let ledger: Ledger;
let keeper: FenceKeeper;

const open = async (): Promise<void> => {
  clock = new SimClock();
  ledger = await Ledger.open(dir, { clock, log });
  keeper = new FenceKeeper('i', ledger, clock);
};
const pass = (ms: number): Promise<void> => clock.advance(ms);
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-fence-'));
  await open();
});
afterEach(async () => {
  await ledger.close();
  await rm(dir, { recursive: true, force: true });
});

describe('the fence', () => {
  it('lets calls of one run overtake each other', async () => {
    await keeper.check(from({ revision: 20 }));
    await keeper.check(from({ revision: 19 }));
  });

  it('refuses another installation and a lower epoch', async () => {
    await keeper.check(from({ epoch: 2 }));
    await expect(keeper.check(from({ installationId: 'other' }))).rejects.toMatchObject(WRONG);
    await expect(keeper.check(from({ epoch: 1, revision: 99 }))).rejects.toMatchObject(WRONG);
  });

  it('has a higher epoch on disk before it lets it act', async () => {
    await keeper.check(from({ epoch: 5 }));
    const again = await Ledger.open(dir, { clock, log });
    expect(again.controller).toMatchObject({ epoch: 5, runId: 'a' });
  });

  it('refuses another run on an older database, also after a restart of the agent', async () => {
    await keeper.check(from({ revision: 50 }));
    await pass(60_000);
    await expect(keeper.check(from({ runId: 'b', revision: 49 }))).rejects.toMatchObject(WRONG);
    await ledger.close();
    await open();
    await expect(keeper.check(from({ runId: 'b', revision: 49 }))).rejects.toMatchObject(WRONG);
    await keeper.check(from({ runId: 'b', revision: 50, formerRunIds: ['a'] }));
  });

  it('refuses a run whose database does not know the run that was here last, however far it has come', async () => {
    keeper.claim(from({ revision: 50 }), () => undefined)();
    await pass(60_000);
    const copy = { runId: 'b', revision: 5_000, formerRunIds: ['older'] };
    expect(() => keeper.claim(from(copy), () => undefined)).toThrow(/knows nothing/);
    await expect(keeper.check(from(copy))).rejects.toMatchObject(WRONG);
    await ledger.close();
    await open();
    expect(() => keeper.claim(from(copy), () => undefined)).toThrow(/knows nothing/);
    keeper.claim(from({ runId: 'c', revision: 50, formerRunIds: ['a', 'older'] }), () => undefined);
  });

  it('writes newer revisions of the same run with whatever is written next', async () => {
    await keeper.check(from({ revision: 1 }));
    await keeper.check(from({ revision: 70 }));
    await ledger.close();
    await open();
    await expect(keeper.check(from({ runId: 'b', revision: 69 }))).rejects.toMatchObject(WRONG);
  });

  it('keeps other runs away while one is connected, and a little longer', async () => {
    const release = keeper.claim(from(), () => undefined);
    await pass(60_000);
    await expect(keeper.check(from({ runId: 'b', revision: 11 }))).rejects.toMatchObject(WRONG);
    release();
    await expect(keeper.check(from({ runId: 'b', revision: 11 }))).rejects.toMatchObject(WRONG);
    await pass(3_000);
    await keeper.check(from({ runId: 'b', revision: 11, formerRunIds: ['a'] }));
  });

  it('tells the connected run when a higher epoch takes over', async () => {
    let lost = 0;
    keeper.claim(from(), () => lost++);
    await keeper.check(from({ runId: 'b', epoch: 2, revision: 1 }));
    expect(lost).toBe(1);
    await expect(keeper.check(from())).rejects.toMatchObject(WRONG);
  });

  it('starts anew when the host was enrolled with another installation', async () => {
    await keeper.check(from({ epoch: 7, revision: 500 }));
    const other = new FenceKeeper('j', ledger, clock);
    await other.check(from({ installationId: 'j', runId: 'z', revision: 1 }));
    expect(ledger.controller).toMatchObject({ installationId: 'j', epoch: 1, runId: 'z' });
  });

  it('refuses a call without its marks', async () => {
    await expect(keeper.check(from({ runId: '' }))).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });
});
