/** Tokens and events. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Event } from '@berth/shared/model/event.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { memoryState } from '../hosts/testing.ts';
import type { State } from '../state/state.ts';
import { Authentication } from './authentication.ts';
import { Events, type Followed } from './events.ts';
import { bearerOf, Tokens } from './tokens.ts';

let state: State;
beforeEach(async () => {
  state = await memoryState();
});

describe('a bearer token', () => {
  let offsetMs = 0;
  let tokens: Tokens;
  let authentication: Authentication;
  beforeEach(() => {
    offsetMs = 0;
    tokens = new Tokens(state);
    const clock = { now: () => systemClock.now() + offsetMs };
    authentication = new Authentication({ state, clock });
  });
  const show = (authorization: string | undefined) => authentication.authenticate({ authorization });
  const make = (role = 'operator', lifetimeMs = 0) => tokens.create({ user: 'ann', role, lifetimeMs }, 'root');

  it('tells who calls', async () => {
    const made = await make();
    expect(show(`Bearer ${bearerOf(made)}`)).toMatchObject({ user: 'ann', role: 'operator' });
    expect(JSON.stringify(tokens.list())).not.toContain(made.secret);
  });

  it('is refused when it is missing, garbled, unknown, of a wrong secret, or ended', async () => {
    const made = await make();
    const bad = [undefined, '', 'Bearer ', 'Basic x', `Bearer ${made.token.id}.wrong`, 'Bearer token-0.x', made.secret];
    for (const header of bad)
      expect(() => show(header)).toThrow(expect.objectContaining({ reason: 'UNAUTHENTICATED' }));
    await tokens.delete(made.token.id, 'root');
    expect(() => show(`Bearer ${bearerOf(made)}`)).toThrow(/not known here/);
  });

  it('is refused after its end, in words', async () => {
    const made = await make('viewer', 60_000);
    offsetMs = 61_000;
    expect(() => show(`Bearer ${bearerOf(made)}`)).toThrow(/^this token expired .* ago/);
  });

  it('is not made for a user who has more than anybody can look through', async () => {
    const { token } = await make();
    await state.update((tx) => {
      for (let i = 1; i < 10_000; i++) tx.tokens.put({ ...token, id: `token-${i}` as typeof token.id });
    });
    await expect(make()).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await tokens.delete(token.id, 'root');
    await make();
  });

  it('of the last administrator cannot be ended', async () => {
    const admin = await make('admin');
    await expect(tokens.delete(admin.token.id, 'root')).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await make('admin');
    await tokens.delete(admin.token.id, 'root');
  });

  it.each([
    [{ user: 'a b', role: 'admin', lifetimeMs: 0 }],
    [{ user: 'ann', role: 'root', lifetimeMs: 0 }],
    [{ user: 'ann', role: 'admin', lifetimeMs: 1 }],
  ])('is not made of %j', (r) => {
    expect(() => tokens.create(r, 'root')).toThrow(expect.objectContaining({ reason: 'INVALID_ARGUMENT' }));
  });
});

describe('watching events', () => {
  const tell = (message: string, times = 1) =>
    state.update((tx) => {
      for (let i = 0; i < times; i++)
        tx.event({ type: 'x.y', severity: 'info', subjectKind: 'host', subject: 'h1', message, jobId: undefined });
    });
  async function take(source: AsyncIterable<{ event: Event }>, n: number): Promise<string[]> {
    const got: string[] = [];
    for await (const { event } of source) if (got.push(event.message) === n) break;
    return got;
  }

  it('begins with what came after the given revision, and goes on without a gap', async () => {
    await tell('a');
    const from = state.revision;
    await tell('b');
    const stop = new AbortController();
    const seen = take(new Events(state).watch(from, stop.signal), 3);
    await tell('c');
    await tell('d');
    expect(await seen).toEqual(['b', 'c', 'd']);
  });

  it('tells only what is new when no revision is given, and ends when it is told to', async () => {
    await tell('old');
    const stop = new AbortController();
    const watch = new Events(state).watch(0, stop.signal);
    const next = watch.next();
    await tell('new');
    expect((await next).value).toMatchObject({ event: { message: 'new' } });
    const last = watch.next();
    stop.abort();
    expect((await last).done).toBe(true);
  });

  it('does not wait for a revision that was never given out here, as by the controller before a restore', async () => {
    await tell('old');
    const stop = new AbortController();
    const watch = new Events(state).watch(state.durableRevision + 1_000, stop.signal);
    const next = watch.next();
    await tell('new');
    expect((await next).value).toMatchObject({ event: { message: 'new' } });
    stop.abort();
  });

  it('loses nothing for a reader that is far behind', async () => {
    const stop = new AbortController();
    const watch = new Events(state).watch(0, stop.signal);
    const first = watch.next();
    await tell('first');
    expect((await first).value).toMatchObject({ event: { message: 'first' } });
    for (let i = 0; i < 30; i++) await tell(`m${i}`, 100);
    const got = await take(watch, 3_000);
    expect(new Set(got).size).toBe(30);
    expect([got[0], got.at(-1)]).toEqual(['m0', 'm29']);
  });

  it('says where to go on so that a watch that ends within a revision loses nothing of it', async () => {
    await tell('before');
    const from = state.revision;
    await tell('many', 3);
    const goOn = async (after: number) => {
      const watch = new Events(state).watch(after, new AbortController().signal);
      const first = (await watch.next()).value as Followed;
      await watch.return(undefined);
      return first;
    };
    const first = await goOn(from);
    expect([first.event.message, first.resumeAfter]).toEqual(['many', from]);
    const stop = new AbortController();
    const rest: Followed[] = [];
    for await (const f of new Events(state).watch(first.resumeAfter, stop.signal)) if (rest.push(f) === 3) break;
    expect(rest.map((f) => f.resumeAfter)).toEqual([from, from, from + 1]);
  });
});
