import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HostId } from '@berth/shared/model/ids.ts';
import { betterSource, mayBeHeldBack, SLOW_LOOKS, sourcesFor, type Member, type Swarm } from './swarm.ts';

const id = (name: string): HostId => name as HostId;
const member = (hostId: string, from: string | undefined, more: Partial<Member> = {}): Member => ({
  ...{ hostId: id(hostId), from: from === undefined ? undefined : id(from) },
  ...{ doneBytes: 0, bytesPerSecond: undefined, meanBytesPerSecond: 0, firstBytesPerSecond: undefined },
  ...{ slowFor: 0, looks: 0, passed: false, relays: true },
  ...more,
});
const swarm = (holders: readonly string[], ...members: readonly Member[]): Swarm => ({
  holders: new Set(holders.map(id)),
  members: new Map(members.map((m) => [m.hostId, m])),
});

describe('whom a host reads an image from', () => {
  it('is the holder when nobody else copies', () => {
    expect(sourcesFor(swarm(['src']), id('a'))).toEqual(['src']);
  });

  it('is the end of the chain, so that each host feeds one other', () => {
    const s = swarm(['src'], member('a', 'src'), member('b', 'a'));
    expect(sourcesFor(s, id('c'))[0]).toBe('b');
  });

  it('is a second holder before the end of a chain', () => {
    expect(sourcesFor(swarm(['src', 'other'], member('a', 'src')), id('b'))[0]).toBe('other');
  });

  it('is no host that cannot pass on what it is copying', () => {
    expect(sourcesFor(swarm(['src'], member('a', 'src', { relays: false })), id('b'))).toEqual(['src']);
  });

  it('is no host that reads from it, and none that has nobody to read from', () => {
    const s = swarm(['src'], member('a', undefined), member('b', 'a'), member('c', 'b'));
    expect(sourcesFor(s, id('a'))).toEqual(['src']);
  });

  it('is no host that has less than it has itself', () => {
    const s = swarm(['src'], member('a', 'src', { doneBytes: 10 }), member('b', undefined, { doneBytes: 20 }));
    expect(sourcesFor(s, id('b'))).toEqual(['src']);
  });

  it('never makes a circle, whatever is chosen in whatever order', () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...names), fc.nat(9)), { maxLength: 60 }), (choices) => {
        const members = new Map(names.map((n) => [id(n), member(n, undefined)]));
        for (const [name, nth] of choices) {
          const s: Swarm = { holders: new Set([id('src')]), members };
          const sources = sourcesFor(s, id(name));
          members.set(id(name), member(name, sources[nth % sources.length]));
        }
        for (const m of members.values()) expect(endsAtSource(members, m)).toBe(true);
      }),
    );
  });
});

function endsAtSource(members: ReadonlyMap<HostId, Member>, from: Member): boolean {
  let at: Member | undefined = from;
  for (let i = 0; at && i < 10; i++) {
    if (at.from === undefined || at.from === 'src') return true;
    at = members.get(at.from);
  }
  return false;
}

describe('a host that is held back by its source', () => {
  const SIZES = { pieceBytes: 1, imageBytes: 1_000 };
  const chain = (rates: readonly (number | undefined)[], done: readonly number[], slowFor = SLOW_LOOKS): Swarm =>
    swarm(
      ['src'],
      ...['a', 'b', 'c'].map((n, i) =>
        member(n, ['src', 'a', 'b'][i], {
          ...{ bytesPerSecond: rates[i], doneBytes: done[i] ?? 0 },
          slowFor: n === 'b' ? slowFor : 0,
        }),
      ),
    );

  it('goes to what feeds that source', () => {
    expect(betterSource(chain([100, 20, 20], [500, 100, 99]), id('c'), SIZES)).toBe('a');
  });

  it('stays when its source is as fast as the others', () => {
    expect(betterSource(chain([100, 90, 90], [500, 490, 489]), id('c'), SIZES)).toBeUndefined();
  });

  it('stays when its source has been slow now and then only', () => {
    expect(betterSource(chain([100, 20, 20], [500, 100, 99], SLOW_LOOKS - 1), id('c'), SIZES)).toBeUndefined();
  });

  it('does not join one that another gets little from, and leaves it when it gets little itself', () => {
    const slow = { bytesPerSecond: 20, slowFor: SLOW_LOOKS };
    const feeder = member('a', 'src', { bytesPerSecond: 100, doneBytes: 500 });
    const starved = member('x', 'a', { ...slow, doneBytes: 90 });
    const behind = member('b', 'a', { ...slow, doneBytes: 100 });
    const s = swarm(['src'], feeder, starved, behind, member('c', 'b', { bytesPerSecond: 20, doneBytes: 99 }));
    expect(betterSource(s, id('c'), SIZES)).toBeUndefined();
    expect(betterSource(s, id('b'), SIZES)).toBe('src');
    expect(betterSource(swarm(['src'], feeder, behind), id('b'), SIZES)).toBeUndefined();
    const fine = { ...starved, slowFor: 0 };
    expect(betterSource(swarm(['src'], feeder, fine, behind), id('b'), SIZES)).toBeUndefined();
  });

  it('leaves one that it gets little from for one that feeds nobody and is ahead of it', () => {
    const starved = member('x', 'a', { bytesPerSecond: 20, slowFor: SLOW_LOOKS, doneBytes: 90 });
    const others = [
      member('a', 'src', { bytesPerSecond: 100, doneBytes: 500 }),
      member('e', 'src', { doneBytes: 300 }),
    ];
    expect(betterSource(swarm(['src'], starved, ...others), id('x'), SIZES)).toBe('e');
    expect(betterSource(swarm(['src'], { ...starved, slowFor: 0 }, ...others), id('x'), SIZES)).toBeUndefined();
  });

  it('goes from behind a slow one to one that feeds nobody, also when that was given another source meanwhile', () => {
    const behind = (source: Partial<Member>): Swarm => ({
      ...swarm(
        ['src', 'idle'],
        member('b', 'src', { bytesPerSecond: 20, doneBytes: 100, ...source }),
        member('c', 'b', { bytesPerSecond: 20, doneBytes: 99 }),
      ),
      doneBytesPerSecond: 100,
    });
    expect(betterSource(behind({ slowFor: SLOW_LOOKS }), id('c'), SIZES)).toBe('idle');
    const again = { slowFor: -SLOW_LOOKS, looks: 2 };
    expect(betterSource(behind(again), id('c'), SIZES)).toBe('idle');
    expect(betterSource(behind({ ...again, looks: 1 }), id('c'), SIZES)).toBeUndefined();
    expect(betterSource(behind({ ...again, bytesPerSecond: 90 }), id('c'), SIZES)).toBeUndefined();
    expect(betterSource(behind({}), id('c'), SIZES)).toBeUndefined();
  });

  it('does not go to one that others left because it gave them little', () => {
    const only = swarm(['left', 'poor'], member('x', 'left', { slowFor: SLOW_LOOKS }));
    expect(betterSource({ ...only, slowSenders: new Set([id('poor')]) }, id('x'), SIZES)).toBeUndefined();
    const s = swarm(['left', 'poor', 'rich'], member('x', 'left', { slowFor: SLOW_LOOKS }));
    expect(betterSource(s, id('x'), SIZES)).toBe('poor');
    expect(betterSource({ ...s, slowSenders: new Set([id('poor')]) }, id('x'), SIZES)).toBe('rich');
  });

  it('stays when it is itself what is slow', () => {
    expect(betterSource(chain([100, 20, 20], [500, 400, 99]), id('c'), SIZES)).toBeUndefined();
  });

  it('stays when the source has just not been given anything', () => {
    expect(betterSource(chain([100, 20, 20], [100, 100, 99]), id('c'), SIZES)).toBeUndefined();
  });

  it('stays when its source has only just been given another source', () => {
    expect(betterSource(chain([100, undefined, 20], [500, 100, 99]), id('c'), SIZES)).toBeUndefined();
  });

  it('leaves a source that it shares to one that is ahead of it, when there is one that feeds nobody', () => {
    const s = swarm(
      ['src'],
      member('slow', 'src', { doneBytes: 10 }),
      member('fast', 'src', { doneBytes: 90 }),
      member('end', 'fast', { doneBytes: 80 }),
    );
    expect(betterSource(s, id('slow'), SIZES)).toBe('end');
    expect(betterSource(s, id('fast'), SIZES)).toBeUndefined();
  });

  it('is told apart by a look at its own source alone', () => {
    const shared = [member('slow', 'src', { doneBytes: 10 }), member('fast', 'src', { doneBytes: 90 })];
    const held = [chain([100, 20, 20], [500, 100, 99]), swarm(['src'], ...shared)];
    expect(held.map((s, i) => mayBeHeldBack(s, id(['c', 'slow'][i]!), SIZES))).toEqual([true, true]);
    const not = [chain([100, 90, 90], [500, 490, 489]), chain([100, undefined, 20], [500, 100, 99])];
    expect(not.map((s) => mayBeHeldBack(s, id('c'), SIZES))).toEqual([false, false]);
    fc.assert(
      fc.property(fc.array(fc.nat(200), { minLength: 3, maxLength: 3 }), fc.array(fc.nat(99)), (done, rates) => {
        const s = chain(rates, done);
        for (const n of ['a', 'b', 'c'])
          if (!mayBeHeldBack(s, id(n), SIZES)) expect(betterSource(s, id(n), SIZES)).toBeUndefined();
      }),
    );
  });
  it('stays with a holder', () => {
    expect(betterSource(chain([20, 100, 100], [100, 100, 100]), id('a'), SIZES)).toBeUndefined();
  });

  describe('and others by it', () => {
    const looks = 3;
    const slowAll = (more: Partial<Member>, ...others: readonly Member[]): Swarm =>
      swarm(
        ['src'],
        member('a', 'src', { bytesPerSecond: 15, meanBytesPerSecond: 15, doneBytes: 100, looks, ...more }),
        member('b', 'a', { bytesPerSecond: 15, doneBytes: 99 }),
        member('c', 'b', { bytesPerSecond: 15, doneBytes: 98 }),
        ...others,
      );

    it('goes past the first of a chain that is slow as a whole, to see whose fault that is', () => {
      const s = slowAll({});
      expect(mayBeHeldBack(s, id('b'), SIZES)).toBe(true);
      expect(betterSource(s, id('b'), SIZES)).toBe('src');
      expect(betterSource(s, id('c'), SIZES)).toBeUndefined();
    });

    it('not soon, not when the first is done in a minute, not twice past the same, and less soon each time', () => {
      const waits: Partial<Member>[] = [
        { looks: looks - 1 },
        { slowFor: 1 },
        { meanBytesPerSecond: 20 },
        { passed: true, firstBytesPerSecond: 15 },
      ];
      for (const more of waits) expect(betterSource(slowAll(more), id('b'), SIZES)).toBeUndefined();
      const before = member('x', 'c', { firstBytesPerSecond: 15, doneBytes: 90 });
      expect(betterSource(slowAll({}, before), id('b'), SIZES)).toBeUndefined();
      expect(betterSource(slowAll({ looks: 3 * looks }, before), id('b'), SIZES)).toBe('src');
    });

    it('not while it is known who is slow, or another may be', () => {
      const slow = { meanBytesPerSecond: 5, looks: 1 };
      for (const more of [{ slowFor: SLOW_LOOKS }, slow])
        expect(betterSource(slowAll({}, member('x', 'c', more)), id('b'), SIZES)).toBeUndefined();
      expect(betterSource(slowAll({}, member('x', 'c', { ...slow, looks: 0 })), id('b'), SIZES)).toBe('src');
    });

    it('shares the link of one that is fed less well when it was passed and no chain has an end', () => {
      const passed = member('a', 'src', { passed: true, doneBytes: 55, bytesPerSecond: 10 });
      const rest = [member('b', 'src', { bytesPerSecond: 100 }), member('c', 'b', { bytesPerSecond: 100 })];
      const last = member('d', 'c', { bytesPerSecond: 40, relays: false });
      expect(betterSource(swarm(['src'], passed, ...rest, last), id('a'), SIZES)).toBe('c');
      expect(betterSource(swarm(['src'], passed, ...rest, { ...last, bytesPerSecond: 100 }), id('a'), SIZES)).toBe(
        undefined,
      );
    });

    it('reads from the end of the chain when it was passed, and feeds nobody who can be fed by another', () => {
      const passed = member('a', 'src', { passed: true, doneBytes: 55 });
      const rest = [member('b', 'src', { doneBytes: 50 }), member('c', 'b', { doneBytes: 40 })];
      expect(betterSource(swarm(['src'], passed, ...rest), id('a'), SIZES)).toBe('c');
      expect(betterSource(swarm(['src'], { ...passed, doneBytes: 300 }, ...rest), id('a'), SIZES)).toBe('c');
      expect(betterSource(swarm(['src'], { ...passed, from: id('b') }, ...rest), id('a'), SIZES)).toBe('c');
      const there = { ...passed, from: id('c') };
      expect(betterSource(swarm(['src'], there, ...rest), id('a'), SIZES)).toBeUndefined();
      const alone = swarm(['src'], passed, member('b', 'a', { doneBytes: 50 }));
      expect(betterSource(alone, id('a'), SIZES)).toBeUndefined();
      const left = member('d', 'a', { doneBytes: 30 });
      expect(betterSource(swarm(['src'], passed, ...rest, left), id('d'), SIZES)).toBe('c');
      expect(sourcesFor(swarm(['src'], { ...passed, from: id('c') }, ...rest), id('e'))[0]).toBe('a');
      const slow = [
        { ...passed, from: id('c'), bytesPerSecond: 10 },
        ...rest,
        member('f', 'b', { bytesPerSecond: 100 }),
      ];
      expect(sourcesFor(swarm(['src'], ...slow), id('e'))[0]).toBe('f');
    });
  });
});
