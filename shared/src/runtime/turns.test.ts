/** Unit tests of turns. */
import { describe, expect, it } from 'vitest';
import { KeyedTurns, Turns } from './turns.ts';

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('turns', () => {
  it('come in the order of asking, so many at a time', async () => {
    const turns = new Turns(2);
    const begun: number[] = [];
    const ends: (() => void)[] = [];
    const all = [0, 1, 2, 3].map((i) =>
      turns.run(() => {
        begun.push(i);
        return new Promise<void>((resolve) => (ends[i] = resolve));
      }),
    );
    await settled();
    expect(begun).toEqual([0, 1]);
    ends[1]?.();
    await settled();
    expect(begun).toEqual([0, 1, 2]);
    ends[0]?.();
    await settled();
    expect(begun).toEqual([0, 1, 2, 3]);
    ends.slice(2).forEach((end) => end());
    await Promise.all(all);
    expect(turns.idle).toBe(true);
  });

  it('are never more than allowed when one is asked for in the moment that another ends', async () => {
    const turns = new Turns(1);
    const release = await turns.take();
    const second = turns.take();
    release();
    let third = false;
    void turns.take().then(() => (third = true));
    await second;
    await settled();
    expect(third).toBe(false);
  });

  it('are given back once, however often the giver says so, and also when the work fails', async () => {
    const turns = new Turns(1);
    const release = await turns.take();
    release();
    release();
    await expect(turns.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    const held = await turns.take();
    let another = false;
    void turns.take().then(() => (another = true));
    await settled();
    expect(another).toBe(false);
    held();
  });

  it('are not waited for after an abort, and the others move up', async () => {
    const turns = new Turns(1);
    const release = await turns.take();
    const abort = new AbortController();
    const gone = turns.take(abort.signal);
    const next = turns.take();
    abort.abort(new Error('enough'));
    await expect(gone).rejects.toThrow('enough');
    release();
    (await next)();
    expect(turns.idle).toBe(true);
    await expect(turns.take(AbortSignal.abort('a word'))).rejects.toThrow('aborted before its turn');
  });
});

describe('turns by key', () => {
  it('wait for turns of the same key only, and nothing is kept of a key that nobody holds', async () => {
    const turns = new KeyedTurns();
    const a = await turns.take('a');
    const b = await turns.take('b');
    let again = false;
    const later = turns.run('a', async () => void (again = true));
    await settled();
    expect(again).toBe(false);
    a();
    b();
    await later;
    expect((turns as unknown as { keys: Map<string, unknown> }).keys.size).toBe(0);
  });
});
