/** berth pool start, stop, refresh, set, remove. */
import type { PoolJob } from '@berth/proto/v1/pool.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from '../core/api.ts';
import { NO_WAIT, text, type Command } from '../core/command.ts';
import { print } from '../core/context.ts';
import { runMany } from '../job/many.ts';
import { settings, SETTINGS } from './create.ts';

const pools = (what: string) => [
  { name: 'pools', description: what, required: true, many: true, kind: 'pool' as const },
];

interface Verb {
  readonly verb: string;
  readonly summary: string;
  readonly what: string;
  readonly done: string;
  readonly start: (api: Api, pool: string) => Promise<PoolJob>;
}

const change = ({ verb, summary, what, done, start }: Verb): Command => ({
  ...{ noun: 'pool', verb, summary, args: pools(what), flags: [NO_WAIT] },
  run: (ctx, names, flags) =>
    runMany(ctx, { noun: 'pool', names, wait: flags['wait'] !== false, start, done: async () => done }),
});

export const poolStart = change({
  ...{ verb: 'start', summary: 'bring pools up on all their hosts', what: 'pools to start', done: 'started' },
  start: (api, pool) => api.call(api.pools, (c) => c.startPool, { pool }),
});

export const poolStop = change({
  ...{ verb: 'stop', summary: 'take pools down; what is in them stays', what: 'pools to stop', done: 'stopped' },
  start: (api, pool) => api.call(api.pools, (c) => c.stopPool, { pool }),
});

export const poolRefresh = change({
  ...{ verb: 'refresh', summary: 'look anew at what is in pools', what: 'pools to look at', done: 'looked at' },
  start: (api, pool) => api.call(api.pools, (c) => c.refreshPool, { pool }),
});

export const poolRemove = change({
  ...{ verb: 'remove', summary: 'forget pools; all data stay where they are', what: 'pools to forget' },
  done: 'removed; what is in it stays where it is',
  start: (api, pool) => api.call(api.pools, (c) => c.deletePool, { pool }),
});

export const poolSet: Command = {
  noun: 'pool',
  verb: 'set',
  summary: 'thresholds, overcommit and autostart of a pool',
  details: `Pool local, the folder of the agent on every host, has thresholds and overcommit too:
  berth pool set local --warn-at 80 --overcommit 1.5`,
  args: [{ name: 'pool', description: 'which one', required: true, kind: 'pool' }],
  flags: [
    ...SETTINGS,
    { spec: '--autostart <yes|no>', description: 'whether it comes up with its hosts', choices: ['yes', 'no'] },
  ],
  async run(ctx, [pool = ''], flags) {
    const autostart = text(flags, 'autostart');
    const wanted = { ...settings(flags), ...(autostart !== undefined && { autostart: autostart === 'yes' }) };
    if (Object.keys(wanted).length === 0)
      throw invalidArgument('what is to be set? --warn-at, --stop-at, --overcommit or --autostart');
    const api = await ctx.api();
    const now = await api.call(api.pools, (c) => c.updatePool, { pool, ...wanted });
    const starts = now.autostart ? '' : ', no autostart';
    print(
      ctx,
      `pool ${now.name}: warns at ${now.warnPercent} %, stops at ${now.stopPercent} %, overcommit ${now.overcommit}${starts}`,
    );
  },
};
