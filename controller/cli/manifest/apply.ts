/** berth apply: makes the cluster what files say. Everything is read, checked and compared before anything is done. */
import { invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from '../core/api.ts';
import { NO_WAIT, text, yes, type Command } from '../core/command.ts';
import { note, print, type Context } from '../core/context.ts';
import { EXIT } from '../core/exit.ts';
import { runMany } from '../job/many.ts';
import { faultAt, readSources } from './files.ts';
import type { Plan } from './kind.ts';
import { KINDS, readDocuments, shorten, type ReadDocument } from './read.ts';
import { planLines } from './show.ts';

export const apply: Command = {
  verb: 'apply',
  summary: 'make VMs, volumes, pools, networks, hosts, users and the cluster what files say',
  details: `A file has one or several documents (---), each with its kind (vm, host, cluster, pool, network, volume, user, image) and name:
  kind: vm
  name: web
  labels: {team: a}
  spec:
    vcpus: 2
    memory: 2GiB
    disks: [{size: 20GiB}]
berth vm show web -o yaml gives such a file; its status is ignored. What spec leaves out is the default, but for disks, network
cards and labels, which stay. Passwords stay until others are given.
With --dry-run the exit code is 1 when there are differences, as of diff.`,
  args: [],
  flags: [
    {
      spec: '-f, --file <path>',
      description: 'a file, a folder of them, or - for standard input',
      kind: 'file',
      many: true,
    },
    { spec: '--dry-run', description: 'only show what would change' },
    NO_WAIT,
  ],
  async run(ctx, _args, flags) {
    const paths = Array.isArray(flags['file']) ? (flags['file'] as readonly string[]) : [text(flags, 'file') ?? ''];
    if (paths[0] === '') throw invalidArgument('what is to be applied? Give a file or a folder: berth apply -f FILE');
    const sources = [];
    for (const path of paths) sources.push(...(await readSources(ctx, path)));
    const documents = readDocuments(sources);
    if (documents.length === 0) throw invalidArgument(`${paths.join(', ')}: there is nothing in it`);
    const plans = await planAll(await ctx.api(), documents, (api, d) => KINDS[d.kind]!.plan(api, d.value as never));
    for (const plan of plans) for (const line of planLines(plan)) print(ctx, line);
    for (const plan of plans) for (const line of plan.notes ?? []) note(ctx, line);
    const open = plans.filter((p) => p.what !== 'nothing');
    if (yes(flags, 'dryRun')) return open.length > 0 ? ctx.fail(EXIT.failed) : undefined;
    await carryOut(ctx, open, flags['wait'] !== false);
  },
};

/** All refusals at once, each with its line. @throws the first one's reason */
export async function planAll(
  api: Api,
  documents: readonly ReadDocument[],
  planOf: (api: Api, d: ReadDocument) => Promise<Plan>,
): Promise<readonly Plan[]> {
  const plans: Plan[] = [];
  const faults: string[] = [];
  let first: unknown;
  for (const d of documents) {
    try {
      plans.push(await planOf(api, d));
    } catch (e) {
      if (!isClusterError(e) || e.reason === 'CONTROLLER_UNREACHABLE' || e.reason === 'UNAUTHENTICATED') throw e;
      first ??= e;
      faults.push(...e.message.split('\n').map((line) => located(d, line)));
    }
  }
  if (!isClusterError(first)) return plans;
  const { ClusterError } = await import('@berth/shared/errors/cluster-error.ts');
  throw new ClusterError(first.reason, shorten(faults).join('\n'));
}

/** `vm web: disks.0.cache must be …` is said of the line where that stands. */
export function located({ source }: Pick<ReadDocument, 'source'>, line: string): string {
  const [, path] = /^\w+ \S+: ([a-zA-Z]+(?:\.[\w-]+)*) /.exec(line) ?? [];
  const place =
    path === undefined ? ['name'] : ['spec', ...path.split('.').map((p) => (/^\d+$/.test(p) ? Number(p) : p))];
  return faultAt(source, place, line);
}

/** One kind after the other; VMs all at once. */
export async function carryOut(ctx: Context, plans: readonly Plan[], wait: boolean): Promise<void> {
  const nouns = [...new Set(plans.map((p) => p.noun))];
  for (const noun of nouns) {
    const own = new Map(plans.filter((p) => p.noun === noun).map((p) => [p.name, p]));
    const said = new Map<string, string>();
    await runMany(ctx, {
      ...{ noun, names: [...own.keys()], wait },
      start: async (api, name) => {
        const done = await own.get(name)!.apply(api);
        said.set(name, done.said);
        return done;
      },
      done: async (_api, name) => said.get(name) ?? '',
      advice: 'The same command does the rest.',
    });
  }
}
