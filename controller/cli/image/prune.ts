/** berth image prune: removes copies of images that nothing on their hosts needs. */
import type { PrunedCopy } from '@berth/proto/v1/image.ts';
import type { Job } from '@berth/proto/v1/job.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import { parseDuration } from '@berth/shared/units/duration.ts';
import type { Api } from '../core/api.ts';
import { list, OUTPUT, text, yes, type Command } from '../core/command.ts';
import { note, type Context } from '../core/context.ts';
import { errorLine, EXIT } from '../core/exit.ts';
import { followJob } from '../job/follow.ts';
import { forPeople, renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';

const WHY: Readonly<Record<string, string>> = {
  remove: 'nothing there needs it',
  used: 'a VM, a volume or a drive there needs it',
  busy: 'a job works with it',
  young: 'it was needed not long ago',
  away: 'its host does not answer',
  kept: 'the last copy stays, and as many as are to be kept',
  stayed: 'its host did not give it up now',
};
/** It was to go. */
const STAYED = 'stayed';

/** Of one content under many names. */
const some = (names: readonly string[]): string =>
  names.length > 3 ? `${names.slice(0, 2).join(', ')} and ${names.length - 2} more` : names.join(', ');

const columns: readonly Column<PrunedCopy>[] = [
  { title: 'IMAGE', cell: (c) => some(c.images) },
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
an hour on hosts that are short of room. The last copy always stays, and as many as berth image set --keep-copies says.

Examples:
  berth image prune --dry-run
  berth image prune base --host h2              what h2 has of base, when nothing there needs it`,
  args: [{ name: 'images', description: 'of these alone', required: false, many: true, kind: 'image' }],
  flags: [
    {
      spec: '--host <host>',
      description: 'only copies on this host; may be given several times',
      kind: 'host',
      many: true,
    },
    { spec: '--dry-run', description: 'only show which would go, and why the others stay' },
    { spec: '--unused-for <time>', description: 'what was not needed for so long: 0s (default), 12h, 7d' },
    OUTPUT,
  ],
  async run(ctx, images, flags) {
    const api = await ctx.api();
    const dryRun = yes(flags, 'dryRun');
    const unusedForMs = BigInt(parseDuration(text(flags, 'unusedFor') ?? '0s'));
    const wanted = { dryRun, unusedForMs, images: [...images], hosts: [...list(flags, 'host')] };
    const { copies } = await api.call(api.images, (c) => c.pruneImages, wanted);
    const ended = await endOf(ctx, api, copies);
    const shown = dryRun ? copies : ended.copies.filter((c) => c.jobId !== '');
    renderList<PrunedCopy>(ctx, flags, {
      rows: shown,
      columns,
      name: (c) => `${c.images[0] ?? ''}@${c.host}`,
      empty: dryRun ? 'There are no such copies of images.' : nothing(images, list(flags, 'host')),
    });
    const gone = shown.filter((c) => c.verdict === 'remove');
    if (forPeople(flags) && gone.length > 0) note(ctx, freed(gone, dryRun));
    for (const words of ended.failures) note(ctx, words);
    if (shown.some((c) => c.verdict === STAYED)) ctx.fail(EXIT.failed);
  },
};

const nothing = (images: readonly string[], hosts: readonly string[]): string => {
  const same = ['berth image prune', ...images, ...hosts.map((h) => `--host ${h}`), '--dry-run'];
  return `Nothing to remove. See why: ${same.join(' ')}`;
};

function freed(gone: readonly PrunedCopy[], dryRun: boolean): string {
  const bytes = gone.reduce((sum, c) => sum + Number(c.fileBytes), 0);
  const hosts = new Set(gone.map((c) => c.host)).size;
  return `${formatFileBytes(bytes)} ${dryRun ? 'would be freed' : 'freed'} on ${hosts} ${hosts === 1 ? 'host' : 'hosts'}`;
}

interface Ended {
  /** As they were planned, but for those that stayed after all. */
  readonly copies: readonly PrunedCopy[];
  readonly failures: readonly string[];
}

/** Waits for all the jobs, whatever becomes of one of them. */
async function endOf(ctx: Context, api: Api, copies: readonly PrunedCopy[]): Promise<Ended> {
  const ids = [...new Set(copies.map((c) => c.jobId).filter((id) => id !== ''))];
  const jobs = await Promise.allSettled(ids.map((id) => followJob(ctx, api, id, () => undefined)));
  ctx.signal.throwIfAborted();
  const ends = new Map(ids.map((id, i) => [id, jobs[i]!]));
  const stayed = (c: PrunedCopy): boolean => {
    const end = ends.get(c.jobId);
    return c.verdict === 'remove' && end !== undefined && (end.status === 'rejected' || keeps(end.value, c.host));
  };
  return {
    copies: copies.map((c) => (stayed(c) ? { ...c, verdict: STAYED } : c)),
    failures: [...ends].flatMap(([id, end]) =>
      end.status === 'fulfilled'
        ? []
        : [`image ${some(copies.find((c) => c.jobId === id)?.images ?? [])} stays: ${errorLine(end.reason)}`],
    ),
  };
}

/** `stays on h1, h2`, says the job's step. */
const keeps = ({ steps }: Job, host: string): boolean =>
  steps.some((s) => s.detail.startsWith('stays on ') && s.detail.slice(9).split(', ').includes(host));
