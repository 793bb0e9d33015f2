import { expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { Looks } from './looks.ts';

function looks(look: () => Promise<void>) {
  const clock = new SimClock();
  return { clock, looks: new Looks({ clock, log: createLog('test', 'silent') }, 1_000, look, 'it failed') };
}

it('looks again and again, sooner when it is told, also after a look that failed', async () => {
  let times = 0;
  const { clock, looks: all } = looks(async () => {
    times++;
    throw new Error('no');
  });
  const end = all.begin();
  await clock.advance(3_000);
  expect(times).toBe(3);
  all.soon(100);
  await clock.advance(100);
  expect(times).toBe(4);
  end();
  await clock.advance(5_000);
  expect(times).toBe(4);
});

it('looks once at a time, and never again when it was ended in the middle', async () => {
  let [times, go] = [0, () => undefined as void];
  const { clock, looks: all } = looks(() => {
    times++;
    return new Promise((resolve) => (go = resolve));
  });
  const end = all.begin();
  await clock.advance(1_000);
  await all.now();
  expect(times).toBe(1);
  end();
  go();
  await clock.advance(5_000);
  expect(times).toBe(1);
});

it('is not put off by reasons that come faster than it looks', async () => {
  let times = 0;
  const { clock, looks: all } = looks(async () => void times++);
  const end = all.begin();
  for (let i = 0; i < 20; i++) {
    all.soon(100);
    await clock.advance(50);
  }
  expect(times).toBeGreaterThan(8);
  end();
});

it('looks once more when there was reason to in the middle of a look', async () => {
  const goes: (() => void)[] = [];
  const { clock, looks: all } = looks(() => new Promise((resolve) => goes.push(resolve)));
  const end = all.begin();
  await clock.advance(1_000);
  all.soon(10);
  await clock.advance(10);
  expect(goes).toHaveLength(1);
  goes[0]!();
  await clock.advance(1);
  expect(goes).toHaveLength(2);
  end();
});
