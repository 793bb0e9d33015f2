import { describe, expect, it, vi } from 'vitest';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { SLOW_LOOKS } from './swarm.ts';
import { Swarms } from './swarms.ts';

const IMAGE = 'img-1' as ImageId;
const [A, B, SRC] = ['host-a', 'host-b', 'host-src'] as [HostId, HostId, HostId];

function setUp() {
  let now = 0;
  const swarms = new Swarms();
  const asked = { holders: vi.fn(() => [SRC]), relays: vi.fn((h: HostId) => h === A) };
  const swarm = () => swarms.swarm(IMAGE, now, asked);
  const look = (id: HostId) => swarm().members.get(id);
  return {
    ...{ swarms, swarm, asked, look, pass: (ms: number) => (now += ms) },
    leave: (whole = false) => swarms.leave(IMAGE, A, whole),
    leaveAs: (of: HostId, whole: boolean) => swarms.leave(IMAGE, of, whole),
    feed: (id: HostId, from: HostId | undefined) => swarms.feed(IMAGE, id, from, now),
    progress: (bytes: number, of = A) => swarms.progress(IMAGE, of, bytes, now, () => true),
  };
}

describe('what is known of copies under way', () => {
  it('is who reads from whom, how far it is, and who can pass it on', () => {
    const { feed, progress, look } = setUp();
    feed(A, B);
    progress(70);
    expect(look(A)).toMatchObject({ hostId: A, from: B, doneBytes: 70, bytesPerSecond: undefined, relays: true });
    feed(B, undefined);
    expect(look(B)).toMatchObject({ from: undefined, relays: false });
  });

  it('is a speed once it has been seen for a while, and of late', () => {
    const { feed, progress, look, pass } = setUp();
    feed(A, B);
    pass(1_000);
    progress(1_000);
    expect(look(A)?.bytesPerSecond).toBeUndefined();
    pass(1_000);
    progress(4_000);
    expect(look(A)?.bytesPerSecond).toBe(2_000);
    pass(2_000);
    progress(4_200);
    expect(look(A)?.bytesPerSecond).toBe(100);
  });

  it('is at how many looks in a row a host got much less than its source at the same time', () => {
    const { feed, progress, look, pass } = setUp();
    feed(B, SRC);
    feed(A, B);
    let [a, b] = [0, 0];
    const both = (more: number, ofSource: number): number | undefined => {
      pass(2_000);
      progress((b += ofSource), B);
      progress((a += more));
      return look(A)?.slowFor;
    };
    expect([both(1_000, 1_000), both(100, 1_000), both(100, 1_000)]).toEqual([0, 1, 2]);
    expect([both(100, 100), both(100, 150), both(100, 1_000)]).toEqual([0, 0, 1]);
  });

  it('is at how many looks it got much less, of a source that has it all, than one that is done', () => {
    const { feed, progress, look, pass, leaveAs } = setUp();
    feed(B, SRC);
    pass(2_000);
    progress(4_000, B);
    feed(A, B);
    leaveAs(B, true);
    let a = 0;
    const looks = [100, 100, 2_100, 100, 100].map((more) => {
      pass(2_000);
      progress((a += more));
      return look(A)?.slowFor;
    });
    expect(looks).toEqual([1, 2, 0, 1, 2]);
  });

  it('is who gave so little that others left; not what is left by one that is slow wherever it reads', () => {
    const { feed, progress, swarm, pass, leaveAs } = setUp();
    feed(B, SRC);
    pass(2_000);
    progress(4_000, B);
    feed(A, SRC);
    leaveAs(B, true);
    const slowly = (looks: number): void => {
      for (let i = 0; i < looks; i++) {
        pass(2_000);
        swarm();
        progress(1);
      }
    };
    slowly(SLOW_LOOKS);
    feed(A, B);
    slowly(2 * SLOW_LOOKS);
    feed(A, SRC);
    expect([...(swarm().slowSenders ?? [])]).toEqual([SRC]);
  });

  it('is patience with one that was slow, was changed for that, and is slow again', () => {
    const { feed, progress, look, pass } = setUp();
    feed(B, SRC);
    feed(A, B);
    let b = 0;
    const looks = (n: number): void => {
      for (let i = 0; i < n; i++) {
        pass(2_000);
        progress((b += 1_000), B);
        progress(0);
      }
    };
    looks(SLOW_LOOKS);
    expect(look(A)?.slowFor).toBe(SLOW_LOOKS);
    feed(A, B);
    looks(SLOW_LOOKS);
    expect(look(A)?.slowFor).toBe(0);
    looks(SLOW_LOOKS);
    feed(A, B);
    looks(SLOW_LOOKS);
    expect(look(A)?.slowFor).toBe(-2 * SLOW_LOOKS);
  });

  it('is what the host says of its source where nobody else knows it', () => {
    const { swarms, progress, feed, look } = setUp();
    swarms.reads(IMAGE, A, B);
    expect(look(A)).toBeUndefined();
    progress(5);
    swarms.reads(IMAGE, A, B);
    expect(look(A)?.from).toBe(B);
    feed(A, SRC);
    swarms.reads(IMAGE, A, B);
    expect(look(A)?.from).toBe(SRC);
  });

  it('begins anew with another source, but for how far it is', () => {
    const { feed, progress, look, pass } = setUp();
    feed(A, B);
    pass(2_000);
    progress(4_000);
    feed(A, B);
    expect(look(A)).toMatchObject({ doneBytes: 4_000, bytesPerSecond: undefined });
  });

  it('ends when the copy does, or nobody tells of it any more', () => {
    const { feed, leave, look, pass } = setUp();
    feed(A, B);
    feed(B, undefined);
    leave();
    expect(look(A)).toBeUndefined();
    expect(look(B)).toBeDefined();
    pass(20_000);
    expect(look(B)).toBeUndefined();
  });

  it('asks hosts once a second, and knows at once who reads from whom and who has it all', () => {
    const { feed, progress, swarm, asked, pass, leave } = setUp();
    progress(1);
    for (let i = 0; i < 10; i++) swarm();
    feed(B, A);
    expect(swarm().members.get(B)?.from).toBe(A);
    expect([asked.holders.mock.calls.length, asked.relays.mock.calls.length]).toEqual([1, 1]);
    leave(true);
    expect([...swarm().holders]).toEqual([SRC, A]);
    pass(1_000);
    expect([...swarm().holders]).toEqual([SRC]);
    expect([asked.holders.mock.calls.length, asked.relays.mock.calls.length]).toEqual([2, 2]);
  });

  it('is who was passed: one that reads from the same source now was behind it, and it got enough itself', () => {
    const passes = (looksSlow: number): boolean | undefined => {
      const { feed, progress, look, pass, swarm } = setUp();
      swarm();
      feed(A, SRC);
      feed(B, A);
      feed('host-c' as HostId, SRC);
      for (let i = 1; i <= looksSlow; i++) {
        pass(2_000);
        progress(i * 10_000, 'host-c' as HostId);
        progress(i);
      }
      feed(B, SRC);
      return look(A)?.passed;
    };
    expect([passes(0), passes(SLOW_LOOKS)]).toEqual([true, false]);
    const { feed, look, swarm } = setUp();
    swarm();
    feed(A, SRC);
    feed(B, A);
    feed(B, undefined);
    feed(B, SRC);
    expect(look(A)?.passed).toBe(false);
  });

  it('is who was passed for as long as that may have helped', () => {
    const passedThen = (bytesOfNew: number, looks: number): boolean | undefined => {
      const { feed, progress, look, pass, swarm } = setUp();
      swarm();
      feed(A, SRC);
      feed(B, A);
      pass(4_000);
      progress(400);
      feed(B, SRC);
      expect(look(A)).toMatchObject({ firstBytesPerSecond: 100 });
      feed(A, B);
      for (let i = 1; i <= looks; i++) {
        pass(2_000);
        progress(i * bytesOfNew, B);
      }
      return look(A)?.passed;
    };
    expect([passedThen(220, 1), passedThen(220, 2), passedThen(300, 2)]).toEqual([true, false, true]);
  });

  it('is at how many looks a host has had its source, and how fast that was in all', () => {
    const { feed, progress, look, pass } = setUp();
    feed(A, SRC);
    for (let i = 0; i < 3; i++) {
      pass(2_000);
      progress(i);
    }
    expect(look(A)).toMatchObject({ looks: 3, meanBytesPerSecond: 2 / 6, bytesPerSecond: 1 / 2 });
    feed(A, B);
    expect(look(A)).toMatchObject({ looks: 0, meanBytesPerSecond: 0 });
  });
});
