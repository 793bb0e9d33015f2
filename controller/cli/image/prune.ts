/** berth image prune: removes copies of images that nothing on their hosts needs. */
import type { PrunedCopy } from '@berth/proto/v1/image.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import { parseDuration } from '@berth/shared/units/duration.ts';
import { OUTPUT, text, yes, type Command } from '../core/command.ts';
import { note } from '../core/context.ts';
import { followJob } from '../job/follow.ts';
import { forPeople, renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';

const WHY: Readonly<Record<string, string>> = {
  remove: 'nothing there needs it',
  used: 'a VM, a volume or a drive there needs it',
  busy: 'a job works with it',
  young: 'it was needed not long ago',
  away: 'its host does not answer',
  kept: 'so many copies are kept',
};

const columns: readonly Column<PrunedCopy>[] = [
  { title: 'IMAGE', cell: (c) => c.images.join(', ') },
  { title: 'HOST', cell: (c) => c.host },
  { title: 'SIZE', cell: (c) => formatFileBytes(Number(c.fileBytes)), right: true },
  { title: '', cell: (c) => (c.verdict === 'remove' ? 'goes' : 'stays') },
  { title: 'WHY', cell: (c) => WHY[c.verdict] ?? c.verdict, prose: true },
];

export const imagePrune: Command = {
  noun: 'image',
  verb: 'prune',
  summary: 'remove copies of images that nothing on their hosts needs',
  details: `Berth does this by itself for what was not needed for a week (imageCopies.unusedFor in the controller's configuration), and after
an hour on hosts that are short of room. The last copy always stays, and as many as berth image set --keep-copies says.`,
  args: [],
  flags: [
    { spec: '--dry-run', description: 'only show which would go, and why the others stay' },
    { spec: '--unused-for <time>', description: 'what was not needed for so long: 0s (default), 12h, 7d' },
    OUTPUT,
  ],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const dryRun = yes(flags, 'dryRun');
    const unusedForMs = BigInt(parseDuration(text(flags, 'unusedFor') ?? '0s'));
    const { copies } = await api.call(api.images, (c) => c.pruneImages, { dryRun, unusedForMs });
    for (const jobId of new Set(copies.map((c) => c.jobId)))
      if (jobId !== '') await followJob(ctx, api, jobId, () => undefined);
    const shown = dryRun ? copies : copies.filter((c) => c.jobId !== '');
    renderList<PrunedCopy>(ctx, flags, {
      rows: shown,
      columns,
      name: (c) => `${c.images[0] ?? ''}@${c.host}`,
      empty: dryRun ? 'There are no copies of images.' : 'Nothing to remove. See why: berth image prune --dry-run',
    });
    const gone = copies.filter((c) => c.verdict === 'remove');
    const bytes = gone.reduce((sum, c) => sum + Number(c.fileBytes), 0);
    if (forPeople(flags) && gone.length > 0)
      note(
        ctx,
        `${formatFileBytes(bytes)} ${dryRun ? 'would be freed' : 'freed'} on ${new Set(gone.map((c) => c.host)).size} hosts`,
      );
  },
};
