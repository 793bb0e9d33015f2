/** berth event list, watch. */
import type { Event } from '@berth/proto/v1/event.ts';
import { count, OUTPUT, text, type Command } from '../core/command.ts';
import { print } from '../core/context.ts';
import { time } from '../core/words.ts';
import { forPeople, renderList, renderNext } from '../output/render.ts';
import type { Column } from '../output/table.ts';

const columns: Column<Event>[] = [
  { title: 'TIME', cell: (e) => time(e.atMs) },
  { title: 'SEVERITY', cell: (e) => e.severity },
  { title: 'TYPE', cell: (e) => e.type },
  { title: 'MESSAGE', cell: (e) => e.message, prose: true },
  { title: 'SUBJECT', cell: (e) => `${e.subjectKind} ${e.subject}`, wide: true },
  { title: 'JOB', cell: (e) => e.jobId, wide: true },
  { title: 'REVISION', cell: (e) => String(e.revision), wide: true },
];

const eventList: Command = {
  noun: 'event',
  verb: 'list',
  summary: 'list what happened, newest last',
  args: [],
  flags: [
    OUTPUT,
    { spec: '--limit <n>', description: 'how many (default 50)' },
    { spec: '--subject <name>', description: 'only about this object' },
  ],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const limit = count(flags, 'limit', 50);
    const { events } = await api.call(api.events, (c) => c.listEvents, {
      limit,
      afterRevision: 0n,
      subject: text(flags, 'subject') ?? '',
    });
    renderList(ctx, flags, { rows: events, columns, name: (e) => e.type, empty: 'nothing has happened yet' });
  },
};

const eventWatch: Command = {
  noun: 'event',
  verb: 'watch',
  summary: 'print events as they happen',
  args: [],
  flags: [OUTPUT, { spec: '--after <revision>', description: 'first those after this revision' }],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const people = forPeople(flags);
    const request = { afterRevision: BigInt(count(flags, 'after', 0, 0)) };
    for await (const e of api.stream(api.events, (c) => c.watchEvents, request, ctx.signal)) {
      if (people) print(ctx, `${time(e.atMs)}  ${e.severity.padEnd(7)}  ${e.type.padEnd(18)}  ${e.message}`);
      else renderNext(ctx, flags, { row: e, name: e.type });
    }
  },
};

export const eventCommands: readonly Command[] = [eventList, eventWatch];
