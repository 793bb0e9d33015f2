/** Logging in by password. */
import { beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { memoryState } from '../hosts/testing.ts';
import type { State } from '../state/state.ts';
import { Logins } from './logins.ts';
import { Authentication } from './authentication.ts';
import { bearerOf, Tokens } from './tokens.ts';
import { Users } from './users.ts';

let state: State;
let logins: Logins;
let tokens: Tokens;
let authentication: Authentication;
let nowMs: number;
const GOOD = 'correct horse battery';
beforeEach(async () => {
  state = await memoryState();
  nowMs = 1_000;
  logins = new Logins(state, { monotonic: () => nowMs });
  tokens = new Tokens(state);
  authentication = new Authentication({ state, clock: systemClock });
  const grants = [{ role: 'operator', cluster: '', selector: '' }];
  await new Users(state, systemClock).create({ name: 'ann', kind: '', grants }, 'root');
  await logins.setPassword({ user: 'ann', password: GOOD }, 'root');
});
const login = (password: string, user = 'ann', peer = 'p') => logins.login({ user, password, lifetimeMs: 0 }, peer);

describe('a login by password', () => {
  it('gives a token that ends by itself, with what its user may do', async () => {
    const made = await login(GOOD);
    expect(authentication.authenticate({ authorization: `Bearer ${bearerOf(made)}` })).toMatchObject({
      user: 'ann',
      role: 'operator',
    });
    expect(made.token.expiresAtMs - made.token.createdAtMs).toBe(12 * 3_600_000);
    expect(JSON.stringify(state.tables.users.byName('ann'))).not.toContain(GOOD);
  });

  it('does not tell whether the name or the password is wrong', async () => {
    const words = { reason: 'UNAUTHENTICATED', message: 'user or password is not right' };
    await expect(login('wrong password')).rejects.toMatchObject(words);
    await expect(login(GOOD, 'nobody')).rejects.toMatchObject(words);
    const { users } = state.tables;
    await state.update((tx) => tx.users.put({ ...users.byName('ann')!, disabled: true }));
    await expect(login(GOOD)).rejects.toMatchObject(words);
  });

  it('is refused for longer and longer after wrong ones, also for the right one, and many at once are no free tries', async () => {
    const tries = await Promise.allSettled(Array.from({ length: 12 }, (_, i) => login(`wrong ${i}`)));
    const reasons = tries.map((t) => (t.status === 'rejected' ? (t.reason as { reason: string }).reason : 'in'));
    expect(reasons.filter((r) => r === 'UNAUTHENTICATED')).toHaveLength(5);
    await expect(login(GOOD)).rejects.toMatchObject({ reason: 'RATE_LIMITED', meta: { retryAfterMs: '1000' } });
    nowMs += 1_001;
    await expect(login('wrong', 'ann', 'elsewhere')).rejects.toMatchObject({ reason: 'UNAUTHENTICATED' });
    await expect(login(GOOD, 'ann', 'p')).rejects.toMatchObject({ meta: { retryAfterMs: '2000' } });
    nowMs += 2_001;
    await login(GOOD);
    await login(GOOD);
  });

  it('is counted for the address too, whatever names are tried', async () => {
    for (let i = 0; i < 5; i++)
      await expect(login('x', `user${i}`)).rejects.toMatchObject({ reason: 'UNAUTHENTICATED' });
    await expect(login('x', 'user9')).rejects.toMatchObject({ reason: 'RATE_LIMITED' });
  });
});

describe('a password', () => {
  it('is changed by who knows the old one; other logins end then, tokens do not', async () => {
    const [here, there] = [await login(GOOD), await login(GOOD)];
    const token = await tokens.create({ user: 'ann', role: '', lifetimeMs: 0 }, 'root');
    const change = (oldPassword: string) =>
      logins.setPassword({ user: 'ann', password: 'another password', oldPassword }, 'ann', here.token.id);
    await expect(change('not that one')).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
    await change(GOOD);
    expect([here, there, token].map((t) => tokens.find(t.token.id) !== undefined)).toEqual([true, false, true]);
    await expect(login(GOOD)).rejects.toMatchObject({ reason: 'UNAUTHENTICATED' });
    await login('another password');
  });

  it('that is too short is refused', async () => {
    await expect(logins.setPassword({ user: 'ann', password: 'short' }, 'root')).rejects.toThrow(/10 letters/);
  });
});
