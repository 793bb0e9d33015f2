/** Choosing VMs for a verb: one way at a time, said before anybody is asked. */
import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import type { Context } from '../core/context.ts';
import { chosen } from './choose.ts';

const vms = [
  { name: 'web-10', labels: { team: 'a' } },
  { name: 'web-2', labels: { team: 'a' } },
  { name: 'db', labels: {} },
];

function world() {
  const asked: unknown[] = [];
  const stderr = new PassThrough();
  const call = async (_client: unknown, _method: unknown, q: { selector?: string }) => {
    asked.push(q.selector);
    const fits = q.selector === undefined ? vms : vms.filter((v) => `team=${v.labels.team}` === q.selector);
    return { vms: fits, nextPageToken: '', found: [] };
  };
  const ctx = { api: async () => ({ call, vms: {} }), stderr } as unknown as Context;
  const said = () => ((stderr.read() as Buffer | null) ?? '').toString();
  return { asked, said, choose: (names: string[], flags = {}) => chosen(ctx, 'stop', names, flags) };
}

it('takes names as they are, and asks nobody', async () => {
  const w = world();
  expect(await w.choose(['web', 'db'])).toEqual(['web', 'db']);
  expect(w.asked).toEqual([]);
});

it('finds those with labels, and all, in the order in which people count', async () => {
  const w = world();
  expect(await w.choose([], { selector: 'team=a' })).toEqual(['web-2', 'web-10']);
  expect(await w.choose([], { all: true })).toEqual(['db', 'web-2', 'web-10']);
});

it('says it when nothing matches', async () => {
  const w = world();
  expect(await w.choose([], { selector: 'team=x' })).toEqual([]);
  expect(w.said()).toBe('No VM has labels like team=x.\n');
});

it.each([
  [['web'], { selector: 'team=a' }, /^names and --selector can't be mixed: .* See: berth vm stop --help$/],
  [['web'], { all: true }, /^names and --all can't be mixed/],
  [[], { all: true, selector: 'a' }, /^--selector and --all can't be mixed/],
  [[], {}, /^which VMs\? Name them/],
  [[], { selector: '' }, /^--selector is empty; for all VMs there is --all/],
])('refuses %j with %j', async (names, flags, words) => {
  const w = world();
  await expect(w.choose(names, flags)).rejects.toMatchObject({
    reason: 'INVALID_ARGUMENT',
    message: expect.stringMatching(words),
  });
  expect(w.asked).toEqual([]);
});
