/** berth host review, accept: after a restore of the controller, what hosts have and it does not know. */
import type { HostReview } from '@berth/proto/v1/review.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { OUTPUT, type Command } from '../core/command.ts';
import { note, print, type Context } from '../core/context.ts';
import { runMany } from '../job/many.ts';
import { forPeople, renderList, roomOf } from '../output/render.ts';
import { tableLines, type Column } from '../output/table.ts';

type Difference = HostReview['differences'][number];

const columns: Column<Difference>[] = [
  { title: 'KIND', cell: (d) => d.kind },
  { title: 'NAME', cell: (d) => d.name },
  { title: '', cell: (d) => d.what },
  { title: 'DETAIL', cell: (d) => d.detail, spare: 1 },
  { title: 'ID', cell: (d) => d.id, wide: true },
  { title: 'WHAT TO DO', cell: (d) => d.advice, prose: true },
];

export const hostReview: Command = {
  noun: 'host',
  verb: 'review',
  summary: 'show what hosts have and the inventory does not, and the other way round',
  details: `After a restore of the controller from a backup nothing is started, stopped or removed on a host, and nothing new is placed
there, until somebody has looked at this and said: berth host accept HOST.`,
  args: [
    {
      name: 'hosts',
      description: 'hosts to look at; all when none is named',
      required: false,
      many: true,
      kind: 'host',
    },
  ],
  flags: [OUTPUT],
  async run(ctx, hosts, flags) {
    const api = await ctx.api();
    const { reviews } = await api.call(api.reviews, (c) => c.listReviews, { hosts: [...hosts] });
    if (!forPeople(flags))
      return renderList(ctx, flags, { rows: reviews, columns: [], name: (r) => r.host, empty: 'no hosts yet' });
    for (const [i, r] of reviews.entries()) {
      if (i > 0) print(ctx, '');
      print(ctx, headline(r, ctx.clock.now()));
      if (r.differences.length > 0)
        differenceLines(r.differences, flags['output'] === 'wide', ctx).forEach((l) => print(ctx, l));
    }
    const ready = reviews.filter((r) => r.pending && r.reported).map((r) => r.host);
    if (ready.length > 0) note(ctx, `When that is settled, or may stay: berth host accept ${ready.join(' ')}`);
  },
};

const differenceLines = (all: readonly Difference[], wide: boolean, ctx: Context): string[] =>
  tableLines(columns, all, wide, roomOf(ctx, wide) - 2).map((l) => `  ${l}`);

function headline(r: HostReview, nowMs: number): string {
  const n = r.differences.length;
  const found = n === 0 ? 'as the inventory has it' : n === 1 ? '1 difference' : `${n} differences`;
  if (!r.reported) return `${r.host}: has not reported what it has`;
  if (!r.pending) return `${r.host}: ${found}`;
  const age = formatAge(nowMs - Number(r.backupAtMs));
  return `${r.host}: restored from a backup ${age} old, to be accepted; ${found}`;
}

export const hostAccept: Command = {
  noun: 'host',
  verb: 'accept',
  summary: 'end the review of hosts after a restore: what they have is taken over as it is',
  details: `The power of the VMs and the copies of images are noted as the host has them; from then on Berth works there again as always.
What is gone or found stays so until you decide: see \`berth host review\`.`,
  args: [{ name: 'hosts', description: 'hosts to accept', required: true, many: true, kind: 'host' }],
  flags: [],
  run: (ctx, names) =>
    runMany(ctx, {
      noun: 'host',
      names,
      wait: true,
      start: async (api, host) => {
        const { taken } = await api.call(api.reviews, (c) => c.acceptHost, { host });
        for (const words of taken) note(ctx, `${host}: ${words}`);
        return { jobId: '' };
      },
      done: async () => 'accepted',
    }),
};
