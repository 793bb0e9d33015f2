import { describe, expect, it } from 'vitest';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { Swarms } from './swarms.ts';

const IMAGE = 'img-1' as ImageId;
const [A, B] = ['host-a', 'host-b'] as [HostId, HostId];

function setUp() {
  let now = 0;
  const swarms = new Swarms();
  const look = (id: HostId) => swarms.members(IMAGE, now, (h) => h === A).get(id);
  return {
    ...{ look, pass: (ms: number) => (now += ms), leave: () => swarms.leave(IMAGE, A) },
    feed: (id: HostId, from: HostId | undefined) => swarms.feed(IMAGE, id, from, now),
    progress: (bytes: number) => swarms.progress(IMAGE, A, bytes, now),
  };
}

describe('what is known of copies under way', () => {
  it('is who reads from whom, how far it is, and who can pass it on', () => {
    const { feed, progress, look } = setUp();
    feed(A, B);
    progress(70);
    expect(look(A)).toEqual({ hostId: A, from: B, doneBytes: 70, bytesPerSecond: undefined, relays: true });
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
});
