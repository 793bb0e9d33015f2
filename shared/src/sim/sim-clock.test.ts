import { describe, expect, it } from 'vitest';
import { SimClock } from './sim-clock.ts';

describe('SimClock', () => {
  it('fires timers in the order of their time, ties in the order they were set', async () => {
    const clock = new SimClock(0);
    const fired: string[] = [];
    for (const [ms, name] of [
      [30, 'c'],
      [10, 'a'],
      [20, 'b'],
      [10, 'a2'],
      [40, 'd'],
    ] as const)
      clock.after(ms, () => fired.push(`${name}@${clock.now()}`));
    await clock.advance(35);
    expect(fired).toEqual(['a@10', 'a2@10', 'b@20', 'c@30']);
    expect(clock.now()).toBe(35);
  });

  it('fires timers that a fired timer sets, and forgets cancelled ones', async () => {
    const clock = new SimClock(0);
    const fired: number[] = [];
    const doomed = clock.after(5, () => fired.push(-1));
    clock.after(1, () => {
      doomed.cancel();
      clock.after(1, () => fired.push(clock.now()));
    });
    await clock.advance(10);
    expect(fired).toEqual([2]);
    expect(await clock.step()).toBe(false);
  });

  it('ends a sleep when its time has come or when it is aborted', async () => {
    const clock = new SimClock(0);
    const slept = clock.sleep(1000).then(() => clock.monotonic());
    const abort = new AbortController();
    const cut = clock.sleep(5000, abort.signal).catch((e: Error) => e.message);
    await clock.advance(1000);
    expect(await slept).toBe(1000);
    abort.abort(new Error('enough'));
    expect(await cut).toBe('enough');
    await expect(clock.sleep(1, abort.signal)).rejects.toThrow('enough');
  });
});
