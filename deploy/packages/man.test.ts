/** Manual pages say all that the definitions say, and nothing in a text is taken for a request. */
import { expect, it } from 'vitest';
import type { Command } from '@berth/controller/cli/core/command.ts';
import { expectGolden } from '../../test/harness/golden.ts';
import { commandPages } from './man.ts';

const command = (given: Partial<Command>): Command => ({
  ...{ verb: 'list', summary: 'list them', args: [], flags: [], run: () => Promise.resolve() },
  ...given,
});

it('a noun has a page with its verbs, what they take, and their examples', () => {
  const pages = commandPages(
    [
      command({
        noun: 'ship',
        verb: 'load',
        summary: 'put something into ships',
        args: [
          { name: 'what', description: 'what to put in', required: true },
          { name: 'ships', description: 'where to', required: false, many: true },
        ],
        flags: [
          { spec: '-o, --output <format>', description: 'how to print it', choices: ['table', 'json'] },
          { spec: '--label <k=v>', description: 'a "label"', many: true },
        ],
        details: ".TH is no request here,\n  nor 'this', and C:\\dir is a path",
      }),
      command({ verb: 'login', summary: 'log in' }),
    ],
    { ship: { summary: 'ships' } },
    { version: '1.2.3+git1', epoch: 86_400 },
  );
  expect([...pages.keys()]).toEqual(['berth.1', 'berth-ship.1']);
  expectGolden(import.meta.url, 'berth-ship.1', pages.get('berth-ship.1') ?? '');
  expect(pages.get('berth.1')).toMatch(/\.SS "berth login"\n\.PP\nlog in\./);
});
