import { describe, expect, it } from 'vitest';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { Admission } from './admission.ts';

class TestClock implements Clock {
  ms = 0;
  private timers: { at: number; fn: () => void; gone: boolean }[] = [];
  now = () => this.ms;
  monotonic = () => this.ms;
  after(ms: number, fn: () => void) {
    const timer = { at: this.ms + ms, fn, gone: false };
    this.timers.push(timer);
    return { cancel: () => void (timer.gone = true) };
  }
  sleep = () => Promise.reject(new Error('not here'));
  run(ms: number): void {
    const end = this.ms + ms;
    for (;;) {
      const due = this.timers.filter((t) => !t.gone && t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.timers = this.timers.filter((t) => t !== due);
      this.ms = Math.max(this.ms, due.at);
      due.fn();
    }
    this.ms = end;
  }
}

describe('admission', () => {
  it('spreads 2,000 hosts evenly over time', () => {
    const clock = new TestClock();
    const admission = new Admission(clock, { perSecond: 100, atOnce: 10_000 });
    const started: number[] = [];
    for (let i = 0; i < 2_000; i++) admission.enter(() => started.push(clock.ms), true);
    clock.run(10_000);
    expect(started.length).toBeGreaterThan(990);
    expect(started.length).toBeLessThan(1_050);
    clock.run(10_500);
    expect(started).toHaveLength(2_000);
  });

  it('lets only so many dial at once, and the next when one leaves', () => {
    const clock = new TestClock();
    const admission = new Admission(clock, { perSecond: 1_000, atOnce: 2 });
    const started: number[] = [];
    const places = [0, 1, 2, 3].map((i) => admission.enter(() => started.push(i), true));
    clock.run(1_000);
    expect(started).toEqual([0, 1]);
    places[0]?.leave();
    places[0]?.leave();
    clock.run(1_000);
    expect(started).toEqual([0, 1, 2]);
  });

  it('takes promising hosts before those that failed, and skips who left the queue', () => {
    const clock = new TestClock();
    const admission = new Admission(clock, { perSecond: 1_000, atOnce: 100 });
    const started: string[] = [];
    admission.enter(() => started.push('dead'), false);
    const gone = admission.enter(() => started.push('gone'), true);
    admission.enter(() => started.push('alive'), true);
    gone.leave();
    clock.run(100);
    expect(started).toEqual(['alive', 'dead']);
  });
});
