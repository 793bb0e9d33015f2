/** berth cluster show, set: what holds for all hosts together. */
import type { Cluster } from '@berth/proto/v1/cluster.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { OUTPUT, text, yes, type Command } from '../core/command.ts';
import { note, print } from '../core/context.ts';
import { fields, renderEach } from '../output/render.ts';
import { clusterDocument, definitionWords, hostLines } from './words.ts';

const clusterShow: Command = {
  noun: 'cluster',
  verb: 'show',
  summary: 'show the CPU that guests of the cluster have, and how its hosts keep to it',
  args: [],
  flags: [OUTPUT],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    await renderEach(ctx, flags, {
      names: ['default'],
      get: () => api.call(api.cluster, (c) => c.getCluster, {}),
      name: (c) => c.name,
      lines: (c) => lines(c, ctx.clock.now()),
      document: clusterDocument,
    });
  },
};

const clusterSet: Command = {
  noun: 'cluster',
  verb: 'set',
  summary: 'set the CPU that guests have on every host',
  details: `Without one, a guest has what its host has (host-model), and may not be able to go to another host. With one, each guest
that asks for nothing else has the same CPU everywhere, and a named model of a VM must lie within it:
  berth cluster set --cpu auto          # the most that all hosts have now
  berth cluster set --cpu Westmere      # a named model, as virsh cpu-models x86_64 lists them
  berth cluster set --cpu none
Guests that run keep theirs until they are started anew. Hosts that come later and have less get no VMs, and raise an alarm.`,
  args: [],
  flags: [
    { spec: '--cpu <model>', description: 'auto, none, or a named model' },
    { spec: '--dry-run', description: 'only say what it would be' },
  ],
  async run(ctx, _args, flags) {
    const cpu = text(flags, 'cpu');
    if (cpu === undefined) throw invalidArgument('what is to be set? --cpu auto, none, or a named model');
    const api = await ctx.api();
    const dryRun = yes(flags, 'dryRun');
    const now = await api.call(api.cluster, (c) => c.setClusterCpu, { cpu, dryRun });
    const would = dryRun ? 'would have' : 'have';
    print(
      ctx,
      now.cpu ? `guests ${would} CPU ${definitionWords(now.cpu.definition)}` : `guests ${would} the CPU of their hosts`,
    );
    if (!dryRun) note(ctx, 'Guests that run keep theirs until they are started anew.');
  },
};

export const clusterCommands: readonly Command[] = [clusterShow, clusterSet];

function lines(c: Cluster, nowMs: number): string[] {
  const { cpu } = c;
  return fields([
    ['name', c.name],
    ['cpu', cpu ? definitionWords(cpu.definition) : 'that of each host (host-model)'],
    ['asked for', cpu ? `${cpu.asked}, ${formatAge(nowMs - Number(cpu.setAtMs))} ago` : ''],
    ['models', cpu ? cpu.models.join(' ') : ''],
    ...hostLines(c.hosts),
  ]);
}
