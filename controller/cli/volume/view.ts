/** berth volume list, show. */
import { Volume as VolumeMessage, type Volume } from '@berth/proto/v1/volume.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import type { Api } from '../core/api.ts';
import { OUTPUT, SELECTOR, text, yes, type Command } from '../core/command.ts';
import { nothingWords } from '../core/nothing.ts';
import { allPages } from '../core/pages.ts';
import { volumeDocument } from './document.ts';
import { fields, renderEach, renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';

const labelsText = (v: Volume): string =>
  Object.entries(v.labels)
    .map(([k, x]) => `${k}=${x}`)
    .join(', ');

const columns = (nowMs: number): Column<Volume>[] => [
  { title: 'NAME', cell: (v) => v.name },
  { title: 'STATE', cell: (v) => v.state },
  { title: 'SIZE', cell: (v) => formatBytes(Number(v.sizeBytes)), right: true },
  { title: 'USED', cell: (v) => (v.allocatedBytes > 0n ? formatBytes(Number(v.allocatedBytes)) : ''), right: true },
  { title: 'FORMAT', cell: (v) => v.format },
  { title: 'BASED ON', cell: (v) => v.backing.join(' > '), spare: 1 },
  { title: 'VM', cell: (v) => v.vm },
  { title: 'HOST', cell: (v) => v.host },
  { title: 'POOL', cell: (v) => v.pool },
  { title: 'LABELS', cell: labelsText, wide: true },
  { title: 'AGE', cell: (v) => (v.createdAtMs > 0n ? formatAge(nowMs - Number(v.createdAtMs)) : ''), wide: true },
];

export const volumeList: Command = {
  noun: 'volume',
  verb: 'list',
  summary: 'list volumes: those that stand alone, and the disks of VMs',
  args: [],
  flags: [
    { spec: '--host <host>', description: 'only those on this host', kind: 'host' },
    {
      spec: '--pool <pool>',
      description: 'only those in this pool, and what units (LUNs) of it are free',
      kind: 'pool',
    },
    { spec: '--alone', description: 'only those that no VM has' },
    SELECTOR,
    OUTPUT,
  ],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const asked = {
      host: text(flags, 'host') ?? '',
      selector: text(flags, 'selector') ?? '',
      alone: yes(flags, 'alone'),
      pool: text(flags, 'pool') ?? '',
    };
    const rows = await allPages(async (page) => {
      const r = await api.call(api.volumes, (c) => c.listVolumes, { page, ...asked });
      return { items: r.volumes, next: r.nextPageToken };
    });
    const shown = flags['output'] === undefined || flags['output'] === 'table' || flags['output'] === 'wide';
    renderList(ctx, flags, {
      rows: shown && asked.pool !== '' ? [...rows, ...(await freeUnits(api, asked.pool))] : rows,
      columns: columns(ctx.clock.now()),
      name: (v) => v.name,
      empty: await nothingWords(api, {
        ...{ what: 'volumes', advice: 'Make one with: berth volume create NAME --size 20GiB' },
        ...{ rows, flags },
      }),
    });
  },
};

/** They are no volumes yet. */
async function freeUnits(api: Api, pool: string): Promise<readonly Volume[]> {
  const { units } = await api.call(api.pools, (c) => c.getPool, { pool });
  const free = units.filter((u) => u.volume === '');
  return free.map((u) => ({
    ...VolumeMessage.fromPartial({ name: u.name, state: 'free', format: 'raw', sizeBytes: u.sizeBytes, pool }),
    host: u.hosts.join(','),
  }));
}

export const volumeShow: Command = {
  noun: 'volume',
  verb: 'show',
  summary: 'show volumes in full',
  args: [{ name: 'volumes', description: 'a name, an id, or VM-TARGET', required: true, many: true, kind: 'volume' }],
  flags: [OUTPUT],
  async run(ctx, names, flags) {
    const api = await ctx.api();
    await renderEach(ctx, flags, {
      names,
      get: (volume) => api.call(api.volumes, (c) => c.getVolume, { volume }),
      name: (v) => v.name,
      document: volumeDocument,
      lines: (v) => lines(v, ctx.clock.now()),
    });
  },
};

const lines = (v: Volume, nowMs: number): string[] =>
  fields([
    ['name', v.name],
    ['id', v.id],
    ['state', v.state],
    ['vm', v.vm === '' ? 'none' : `${v.vm}, as ${v.target}`],
    ['size', formatBytes(Number(v.sizeBytes))],
    ['used', v.allocatedBytes > 0n ? `${formatBytes(Number(v.allocatedBytes))} in its pool` : ''],
    ['format', v.format],
    ['based on', v.backing.join(' > ')],
    ['host', v.host],
    ['pool', v.pool],
    ['labels', labelsText(v)],
    ['age', v.createdAtMs > 0n ? formatAge(nowMs - Number(v.createdAtMs)) : ''],
    ['job', v.jobId],
  ]);
