import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import type { Api } from '../core/api.ts';
import type { Context } from '../core/context.ts';
import { imagePush } from './push.ts';

async function push(unreachable: readonly string[], flags: Record<string, unknown>) {
  const stderr = new PassThrough();
  let code = 0;
  const api = { call: async () => ({ pushes: [], unreachable }) } as unknown as Api;
  const ctx = { stderr, api: async () => api, fail: (c: number) => (code = c) };
  await imagePush.run(ctx as unknown as Context, ['base'], flags as never);
  return { err: String(stderr.read() ?? ''), code };
}

it('to labels that no host has says so and is no failure; to hosts that nobody can reach is one', async () => {
  expect(await push([], { selector: 'rack=r9' })).toEqual({ err: 'No host has labels like rack=r9.\n', code: 0 });
  expect(await push([], { all: true })).toEqual({ err: 'There are no hosts.\n', code: 0 });
  const away = await push(['h1', 'h2'], { all: true });
  expect([away.code, away.err]).toEqual([5, expect.stringContaining("can't be reached now: h1, h2")]);
});
