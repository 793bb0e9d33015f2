/** berth pool list, show. */
import type { Pool, PoolOnHost, PoolUnit } from '@berth/proto/v1/pool.ts';
import { isOfDevices, type PoolType } from '@berth/shared/model/pool.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { OUTPUT, yes, type Command } from '../core/command.ts';
import { note } from '../core/context.ts';
import { allPages } from '../core/pages.ts';
import { fields, remark, renderEach, renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';

/** One line for each place: a shared pool is one, any other is one on every host. */
interface Row extends Pool {
  readonly where: string;
  readonly on: PoolOnHost | undefined;
}

const size = (n: bigint | undefined): string => (n === undefined || n === 0n ? '-' : formatBytes(Number(n)));

/** None is something to be seen; of a pool that does not answer nothing is known. */
const free = (on: PoolOnHost | undefined): string =>
  on === undefined || on.capacityBytes === 0n ? '-' : formatBytes(Number(on.availableBytes));

const used = (on: PoolOnHost | undefined): number =>
  on === undefined || on.capacityBytes === 0n ? 0 : 1 - Number(on.availableBytes) / Number(on.capacityBytes);

const usedWords = (on: PoolOnHost | undefined): string =>
  on === undefined || on.capacityBytes === 0n ? '-' : `${Math.round(100 * used(on))} %`;

function rowsOf(pool: Pool): readonly Row[] {
  const there = pool.onHosts.filter((h) => h.state !== 'absent');
  if (there.length === 0) return [{ ...pool, where: '-', on: undefined }];
  if (!pool.shared) return there.map((on) => ({ ...pool, where: on.host, on }));
  const best = there.find((h) => h.state === 'active') ?? there[0];
  return [
    {
      ...pool,
      where: some(
        there.map((h) => h.host),
        there.length + untold(pool),
      ),
      on: best,
    },
  ];
}

/** Hosts that the controller did not name, because they are too many; older ones name all. */
const untold = (pool: Pool): number => Math.max(0, pool.hostCount - pool.onHosts.length);

/** A pool may be on hundreds. */
const some = (hosts: readonly string[], count: number): string =>
  count > 4 ? `${hosts.slice(0, 3).join(',')} and ${count - 3} more` : hosts.join(',');

const stateOf = (r: Row): string =>
  r.state === 'ready' ? (r.on?.state ?? (r.started ? 'absent' : 'inactive')) : r.state;

function remarkOf(r: Row): string {
  const silent = r.shared ? r.onHosts.filter((h) => h.state !== 'active' && h.state !== 'absent') : [];
  const [first] = silent;
  if (r.shared && first && r.on?.state === 'active') return `${first.state} on ${first.host}`;
  if (r.on?.reason) return r.on.reason.split('\n')[0] ?? '';
  if (isOfDevices(r.source?.type as PoolType)) return '';
  const full = Math.round(100 * used(r.on));
  if (full >= r.stopPercent) return 'full: nothing more is placed there';
  return full >= r.warnPercent ? 'nearly full' : '';
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'NAME', cell: (r) => r.name },
  { title: 'TYPE', cell: (r) => (r.name === 'local' ? 'local' : (r.source?.type ?? '')) },
  { title: 'STATE', cell: stateOf },
  { title: 'HOST', cell: (r) => r.where },
  { title: 'SIZE', cell: (r) => size(r.on?.capacityBytes), right: true },
  { title: 'FREE', cell: (r) => free(r.on), right: true },
  { title: 'USED', cell: (r) => usedWords(r.on), right: true },
  { title: 'DISKS', cell: (r) => String(r.diskCount), right: true },
  { title: 'PATH', cell: (r) => r.on?.targetPath ?? '', wide: true },
  { title: 'WARN', cell: (r) => `${r.warnPercent} %`, right: true, wide: true },
  { title: 'STOP', cell: (r) => `${r.stopPercent} %`, right: true, wide: true },
  { title: 'FACTOR', cell: (r) => String(r.overcommit), right: true, wide: true },
];

export const poolList: Command = {
  noun: 'pool',
  verb: 'list',
  summary: 'list storage pools, on each host that has them',
  args: [],
  flags: [{ spec: '--foreign', description: 'those that hosts have and Berth did not make' }, OUTPUT],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const foreign = yes(flags, 'foreign');
    if (foreign) {
      const rows = await allPages(async (page) => {
        const r = await api.call(api.pools, (c) => c.listPools, { page, foreign });
        return { items: r.foreign, next: r.nextPageToken };
      });
      return renderList(ctx, flags, {
        rows,
        columns: [
          { title: 'HOST', cell: (f) => f.host },
          { title: 'NAME', cell: (f) => f.name },
          { title: 'TYPE', cell: (f) => f.type },
          { title: 'STATE', cell: (f) => f.state },
          { title: 'SIZE', cell: (f) => size(f.capacityBytes), right: true },
          { title: 'FREE', cell: (f) => size(f.availableBytes), right: true },
          { title: 'PATH', cell: (f) => f.targetPath, spare: 1 },
        ],
        name: (f) => f.name,
        empty: 'no host has pools that Berth did not make',
      });
    }
    const pools = await allPages(async (page) => {
      const r = await api.call(api.pools, (c) => c.listPools, { page, foreign });
      return { items: r.pools, next: r.nextPageToken };
    });
    const rows = pools.flatMap(rowsOf);
    const data = flags['output'] === 'json' || flags['output'] === 'yaml' || flags['output'] === 'name';
    if (data) return renderList(ctx, flags, { rows: pools, columns: [], name: (p) => p.name, empty: '' });
    renderList(ctx, flags, {
      rows,
      columns: [...COLUMNS, ...remark(rows, remarkOf)],
      name: (r) => r.name,
      empty: 'no pools yet',
    });
    for (const p of pools.filter((p) => !p.shared && untold(p) > 0)) note(ctx, untoldWords(p));
  },
};

export const poolShow: Command = {
  noun: 'pool',
  verb: 'show',
  summary: 'show pools in full',
  args: [{ name: 'pools', description: 'pools to show', required: true, many: true, kind: 'pool' }],
  flags: [OUTPUT],
  async run(ctx, names, flags) {
    const api = await ctx.api();
    await renderEach(ctx, flags, {
      names,
      get: (pool) => api.call(api.pools, (c) => c.getPool, { pool }),
      name: (p) => p.name,
      lines: (p) => lines(p, ctx.clock.now()),
    });
  },
};

function lines(p: Pool, nowMs: number): string[] {
  const local = p.name === 'local';
  const state = p.state === 'ready' && !p.started ? 'stopped' : p.state;
  return fields([
    ['name', p.name],
    ['id', local ? '' : p.id],
    ['state', state === 'ready' ? '' : state],
    ...(local ? [['type', 'local: the folder of the agent on each host'] as const] : sourceLines(p)),
    ['hosts', hostsWords(p)],
    ['autostart', local || p.autostart ? '' : 'no'],
    ['warns at', `${p.warnPercent} % in use`],
    ['stops at', `${p.stopPercent} % in use: nothing more is placed there`],
    ['overcommit', String(p.overcommit)],
    ['disks', p.diskCount === 0 ? 'none' : `${p.diskCount}, which may grow to ${size(p.promisedBytes)}`],
    ...p.onHosts.map((h) => [`on ${h.host}`, onHost(h)] as const),
    ['and', untold(p) > 0 ? untoldWords(p) : ''],
    ...p.units.map((u) => [u.name, unitWords(u)] as const),
    ['age', p.createdAtMs === 0n ? '' : formatAge(nowMs - Number(p.createdAtMs))],
    ['job', p.jobId],
  ]);
}

function sourceLines({ source: s, shared }: Pool): readonly (readonly [string, string])[] {
  if (s === undefined) return [];
  return [
    ['type', s.type],
    ['path', s.targetPath],
    ['servers', s.hosts.join(', ')],
    ['source', [s.name, s.path, ...s.devices, s.adapter].filter(Boolean).join(' ')],
    ['format', s.format],
    ['user', s.authUser],
    ['shared', shared ? 'yes: one storage for all its hosts' : ''],
  ];
}

const untoldWords = (p: Pool): string => `pool ${p.name}: ${untold(p)} of its ${p.hostCount} hosts are not shown`;

const unitWords = (u: PoolUnit): string =>
  `${size(u.sizeBytes)}, ${u.volume === '' ? 'free' : `volume ${u.volume}`}, on ${some(u.hosts, Math.max(u.hosts.length, u.hostCount))} (${u.key})`;

const hostsWords = (p: Pool): string =>
  p.allHosts ? 'all' : p.selector ? `those with ${p.selector}` : p.hosts.join(', ');

function onHost(h: PoolOnHost): string {
  const why = h.reason ? `: ${h.reason.split('\n')[0]}` : '';
  if (h.capacityBytes === 0n) return `${h.state}${why}`;
  return `${h.state}${why}, ${size(h.availableBytes)} of ${size(h.capacityBytes)} free (${usedWords(h)} used)`;
}
