import { expect, it, vi } from 'vitest';
import { memoryState } from '../hosts/testing.ts';
import { LastUse } from './last-use.ts';
import { Tokens } from './tokens.ts';

it('the last use of a token is written behind: many uses, one commit', async () => {
  const state = await memoryState();
  const made = await new Tokens(state).create({ user: 'ann', role: '', lifetimeMs: 0 }, 'root');
  const timers: (() => void)[] = [];
  const after = (_: number, fn: () => void) => (timers.push(fn), { cancel: () => undefined });
  const use = new LastUse(state, { now: () => 5_000, after }, { error: vi.fn() });
  const before = state.revision;
  for (let i = 0; i < 1_000; i++) use.note(made.token.id, `10.0.0.${i % 10}`);
  use.note('token-of-nobody', 'x');
  expect([state.revision, timers.length]).toEqual([before, 1]);
  await use.flush();
  expect(state.revision).toBe(before + 1);
  expect(state.tables.tokens.get(made.token.id)).toMatchObject({ lastUsedAtMs: 5_000, lastUsedFrom: '10.0.0.9' });
  await use.flush();
  expect(state.revision).toBe(before + 1);
});
