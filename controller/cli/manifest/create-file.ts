/** berth vm create -f: the VMs of a file, none of which is there yet. */
import { alreadyExists, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { text, yes, type Flags } from '../core/command.ts';
import { print, type Context } from '../core/context.ts';
import { carryOut, planAll } from './apply.ts';
import { readSources } from './files.ts';
import { readDocuments } from './read.ts';
import { planLines } from './show.ts';
import { find, planCreate, type VmDocument } from './vm-kind.ts';

export interface CreateFile {
  readonly file: string;
  readonly names: readonly string[];
  readonly flags: Flags;
}

/** What may be said beside a file: all else stands in it. */
const BESIDE: ReadonlySet<string> = new Set(['file', 'host', 'start', 'dryRun', 'wait']);

export async function applyFile(ctx: Context, { file, names, flags }: CreateFile): Promise<void> {
  const other = Object.keys(flags).find((f) => !BESIDE.has(f));
  if (other !== undefined || names.length > 0)
    throw invalidArgument(
      `${names[0] ?? `--${other?.replaceAll(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`} beside a file: say it in ${file}, where the rest stands`,
    );
  const documents = readDocuments(await readSources(ctx, file));
  if (documents.length === 0) throw invalidArgument(`${file}: there is nothing in it`);
  const stranger = documents.find((d) => d.kind !== 'vm');
  if (stranger)
    throw invalidArgument(`${file} has a ${stranger.kind} in it (${stranger.name}): berth apply -f takes every kind`);
  const placing = { host: text(flags, 'host'), start: yes(flags, 'start') };
  const plans = await planAll(await ctx.api(), documents, async (api, d) => {
    if (await find(api, d.name))
      throw alreadyExists(`vm ${d.name} exists already: to change it, berth apply -f ${file}`);
    return planCreate(api, d.value as VmDocument, placing);
  });
  if (yes(flags, 'dryRun')) return plans.flatMap((p) => planLines(p)).forEach((line) => print(ctx, line));
  await carryOut(ctx, plans, flags['wait'] !== false);
}
