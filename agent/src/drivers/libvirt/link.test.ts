import { describe, expect, it, vi } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { Connection } from './connection.ts';
import { Link } from './link.ts';

/** A link over connections the test makes and breaks, with timers it lets fire. */
function setUp(random: number) {
  const delays: number[] = [];
  const due: (() => void)[] = [];
  const told: string[] = [];
  const state: { dial: () => Promise<Connection>; close: (why: string) => void } = {
    dial: () => Promise.reject(new Error('refused')),
    close: () => undefined,
  };
  const connection = {
    closedWhy: undefined,
    onClose: (listener: (why: string) => void) => (state.close = listener),
    close: () => undefined,
  } as unknown as Connection;
  const link = new Link({
    clock: { ...systemClock, after: (ms, fn) => (delays.push(ms), due.push(fn), { cancel: () => due.splice(0) }) },
    random: { next: () => random },
    dial: () => state.dial(),
    bringUp: () => Promise.resolve(),
    onUp: () => told.push('up'),
    onDown: (why) => told.push(`down: ${why}`),
    onAttemptFailed: () => told.push('failed'),
  });
  const next = async (): Promise<void> => {
    await vi.waitFor(() => expect(due).toHaveLength(1));
    due.shift()?.();
  };
  return { link, delays, due, told, state, connection, next };
}

describe('the link', () => {
  it('dials again ever more slowly, up to ten seconds', async () => {
    const { delays, next, due } = setUp(1);
    for (let i = 0; i < 8; i++) await next();
    await vi.waitFor(() => expect(due).toHaveLength(1));
    expect(delays).toEqual([200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
  });

  it('spreads the attempts of many agents', async () => {
    const { delays, due } = setUp(0);
    await vi.waitFor(() => expect(due).toHaveLength(1));
    expect(delays).toEqual([100]);
  });

  it('starts over quickly after it has been up', async () => {
    const { link, delays, told, state, connection, next } = setUp(1);
    await next();
    state.dial = () => Promise.resolve(connection);
    await next();
    await vi.waitFor(() => expect(link.isUp).toBe(true));
    state.close('killed');
    expect(told).toEqual(['failed', 'failed', 'up', 'down: killed']);
    expect(delays).toEqual([200, 400, 200]);
    await expect(link.ready('list domains')).rejects.toMatchObject({ message: /list domains: killed/ });
  });

  it('says why it is not up, and stops when it is closed', async () => {
    const { link, due } = setUp(1);
    await expect(link.ready('list domains')).rejects.toMatchObject({
      message: 'could not ask libvirt to list domains: refused',
      meta: { phase: 'before-send' },
    });
    link.close();
    expect(due).toHaveLength(0);
  });
});
