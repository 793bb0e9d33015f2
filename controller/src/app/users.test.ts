/** Users, their roles and their tokens, as administrators change them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { memoryState } from '../hosts/testing.ts';
import type { State } from '../state/state.ts';
import { Authentication } from './authentication.ts';
import { bearerOf, Tokens } from './tokens.ts';
import { Users } from './users.ts';

let state: State;
let users: Users;
let tokens: Tokens;
let authentication: Authentication;
beforeEach(async () => {
  state = await memoryState();
  users = new Users(state, systemClock);
  tokens = new Tokens(state);
  authentication = new Authentication({ state, clock: systemClock });
});

const ROLE = (role: string, selector = '') => ({ role, cluster: '', selector });
const refusal = (reason: string, message: RegExp) =>
  expect.objectContaining({ reason, message: expect.stringMatching(message) as string });
const add = (name: string, ...roles: string[]) =>
  users.create({ name, kind: '', grants: roles.map((r) => ROLE(r)) }, 'root');
const login = async (user: string, role = '') => {
  const made = await tokens.create({ user, role, lifetimeMs: 0 }, 'root');
  return { id: made.token.id, call: () => authentication.authenticate({ authorization: `Bearer ${bearerOf(made)}` }) };
};

describe('users', () => {
  it('get their roles, and what they may do follows at once, also with tokens that are out', async () => {
    await add('ann', 'viewer');
    const { call } = await login('ann');
    expect(call().role).toBe('viewer');
    await users.grant('ann', ROLE('operator'), 'root');
    expect(call().role).toBe('operator');
    await users.revoke('ann', ROLE('operator'), 'root');
    expect(call().role).toBe('viewer');
  });

  it('can do no more with a token than it was made for', async () => {
    await add('ann', 'admin');
    const { call } = await login('ann', 'viewer');
    expect([call().access.everywhere('viewer'), call().access.everywhere('operator')]).toEqual([true, false]);
  });

  it('may make tokens for no more than their own', async () => {
    await add('ann', 'admin');
    await expect(
      (async () => tokens.create({ user: 'ann', role: 'admin', lifetimeMs: 0 }, 'ann', 'viewer'))(),
    ).rejects.toEqual(refusal('PERMISSION_DENIED', /your own token is for viewer/));
    const made = await tokens.create({ user: 'ann', role: '', lifetimeMs: 0 }, 'ann', 'viewer');
    expect(made.token.role).toBe('viewer');
  });

  it('are let in no more while they are disabled, and none of their tokens when they are removed', async () => {
    await add('ann', 'viewer');
    const { call, id } = await login('ann');
    await users.setDisabled('ann', true, 'root');
    expect(call).toThrow(refusal('UNAUTHENTICATED', /ann is disabled/));
    await users.setDisabled('ann', false, 'root');
    expect(call().user).toBe('ann');
    await users.delete('ann', 'root');
    expect(call).toThrow(refusal('UNAUTHENTICATED', /not known here/));
    expect(tokens.find(id)).toBeUndefined();
    await add('ann', 'admin');
    expect(call).toThrow(refusal('UNAUTHENTICATED', /not known here/));
  });

  it('are refused in words when they are wrong', async () => {
    await add('ann');
    const wrong: [() => Promise<unknown>, string, RegExp][] = [
      [() => add('ann'), 'ALREADY_EXISTS', /user ann already exists/],
      [() => add('a b'), 'INVALID_ARGUMENT', /no user name/],
      [() => add('ben', 'king'), 'INVALID_ARGUMENT', /viewer, operator, admin/],
      [() => users.create({ name: 'x', kind: 'robot', grants: [] }, 'r'), 'INVALID_ARGUMENT', /person or a service/],
      [() => users.grant('ann', ROLE('admin', 'a=b=c'), 'r'), 'INVALID_ARGUMENT', /selects nothing/],
      [
        () => users.grant('ann', { role: 'admin', cluster: 'x', selector: '' }, 'r'),
        'INVALID_ARGUMENT',
        /There is: default/,
      ],
      [() => users.revoke('ann', ROLE('admin'), 'r'), 'NOT_FOUND', /ann is not admin/],
      [() => users.get('bob'), 'NOT_FOUND', /user bob does not exist/],
    ];
    for (const [act, reason, words] of wrong)
      await expect((async () => act())()).rejects.toEqual(refusal(reason, words));
    expect(users.list({ pageSize: 0, pageToken: '' }).items.map((u) => u.user.name)).toEqual(['ann']);
  });
});

describe('the last administrator', () => {
  const LAST = refusal('BAD_STATE', /the last administrator who can log in/);
  const every = async (id: string): Promise<void> => {
    for (const act of [
      () => users.delete('root', 'x'),
      () => users.setDisabled('root', true, 'x'),
      () => users.revoke('root', ROLE('admin'), 'x'),
      () => tokens.delete(id, 'x'),
    ])
      await expect((async () => act())()).rejects.toEqual(LAST);
  };

  it('can be neither removed, disabled, made less, nor locked out', async () => {
    await add('root', 'admin');
    const { id, call } = await login('root');
    await every(id);
    expect(call().access.everywhere('admin')).toBe(true);
  });

  it('is not made up for by somebody who is disabled, bound to labels, without a token, or with a lesser one', async () => {
    await add('root', 'admin');
    const { id } = await login('root');
    await add('off', 'admin');
    await login('off');
    await users.setDisabled('off', true, 'x');
    await users.create({ name: 'part', kind: '', grants: [ROLE('admin', 'team=a')] }, 'x');
    await login('part');
    await add('out', 'admin');
    await add('less', 'admin');
    await login('less', 'viewer');
    await every(id);
  });

  it('may go when there is another', async () => {
    await add('root', 'admin');
    await login('root');
    await add('ann', 'admin');
    await login('ann');
    await users.delete('root', 'ann');
    expect(state.tables.users.byName('root')).toBeUndefined();
  });
});
