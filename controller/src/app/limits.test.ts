import { beforeEach, describe, expect, it } from 'vitest';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { Limits } from './limits.ts';

let nowMs = 0;
let limits: Limits;
beforeEach(() => {
  nowMs = 0;
  limits = new Limits({ requestsPerSecond: 10, burst: 20, streams: 2 }, { monotonic: () => nowMs });
});
const asked = (user: string, n: number): number => {
  let ok = 0;
  for (let i = 0; i < n; i++)
    try {
      limits.request(user);
      ok++;
    } catch (e) {
      if (!isClusterError(e, 'RATE_LIMITED')) throw e;
    }
  return ok;
};

describe('a caller', () => {
  it('that floods gets its share and no more, and takes nothing from others', () => {
    expect(asked('flood', 1_000)).toBe(20);
    expect(asked('calm', 20)).toBe(20);
    nowMs += 1_000;
    expect(asked('flood', 1_000)).toBe(10);
    nowMs += 3_600_000;
    expect(asked('flood', 1_000)).toBe(20);
  });

  it('is told what to do and when to ask again', () => {
    asked('flood', 20);
    expect(() => limits.request('flood')).toThrow(
      expect.objectContaining({
        meta: { retryAfterMs: '100' },
        message:
          'flood asks for more than 10 requests a second: ask less often, or for more at once, and try again in 1 s',
      }),
    );
  });

  it('has so many streams at once, and another when it has closed one', () => {
    const close = limits.stream('ann');
    limits.stream('ann');
    expect(() => limits.stream('ann')).toThrow(/ann has 2 streams open: close some/);
    limits.stream('bob');
    close();
    limits.stream('ann');
  });

  it('is forgotten when its bucket is full again, so that names cost no memory', () => {
    for (let i = 0; i < 10_000; i++) limits.request(`u${i}`);
    nowMs += 1_000_000;
    for (let i = 0; i < 100; i++) limits.request(`v${i}`);
    expect(asked('u1', 100)).toBe(20);
  });
});
