import { describe, expect, it } from 'vitest';
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { patiently } from './patiently.ts';

function bench(refusals: number) {
  let nowMs = 0;
  const slept: number[] = [];
  const clock = { monotonic: () => nowMs, sleep: async (ms: number) => void (slept.push(ms), (nowMs += ms)) };
  let left = refusals;
  const ask = async () => {
    if (left-- > 0) throw new ClusterError('RATE_LIMITED', 'too much', { retryAfterMs: '250' });
    return 'answer';
  };
  return { slept, run: () => patiently(ask, clock) };
}

describe('a caller that is told to wait', () => {
  it('waits as long as it is told, then longer, and gets its answer', async () => {
    const { run, slept } = bench(3);
    expect(await run()).toBe('answer');
    expect(slept).toEqual([250, 500, 1_000]);
  });
  it('does not wait for ever', async () => {
    const { run, slept } = bench(Infinity);
    await expect(run()).rejects.toThrow('too much');
    expect(slept.reduce((a, b) => a + b)).toBeLessThan(200_000);
  });
  it('does not ask twice for what is refused for other reasons', async () => {
    const clock = { monotonic: () => 0, sleep: () => Promise.reject(new Error('slept')) };
    await expect(patiently(() => Promise.reject(notFound('no')), clock)).rejects.toThrow('no');
  });
});
