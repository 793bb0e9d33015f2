/** What `berth vm top` and `berth host top` share: flags, one table or one that goes on, and the words above it. */
import type { StatisticsTotal } from '@berth/proto/v1/statistics.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { parseDuration } from '@berth/shared/units/duration.ts';
import { OUTPUT, SELECTOR, text, yes, type Flag, type Flags } from '../core/command.ts';
import type { Context } from '../core/context.ts';
import { percent } from '../core/words.ts';
import { rate, size } from '../output/rates.ts';
import { format, forPeople, renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';
import { liveTop, SORTS, type Answer, type Sort } from './live.ts';

export const TOP_FLAGS: readonly Flag[] = [
  OUTPUT,
  SELECTOR,
  { spec: '--sort <key>', description: 'what comes first (cpu)', choices: [...SORTS] },
  { spec: '--interval <time>', description: 'ask again after so long (2s)' },
  { spec: '--once', description: 'print one table and end; so it is off a terminal' },
];

interface Row {
  readonly name: string;
}
export interface Top<R extends Row> {
  readonly title: string;
  readonly columns: readonly Column<R>[];
  readonly empty: string;
  /** All, in any order. */
  all(): Promise<readonly R[]>;
  first(sort: Sort, limit: number): Promise<Answer<R>>;
  /** What rows are sorted by; the highest first. */
  readonly value: Readonly<Record<Exclude<Sort, 'name'>, (r: R) => number>>;
}

const SHORTEST_MS = 500;

export async function runTop<R extends Row>(ctx: Context, flags: Flags, top: Top<R>): Promise<void> {
  const sort = SORTS.find((s) => s === (text(flags, 'sort') ?? 'cpu'));
  if (sort === undefined) throw invalidArgument(`--sort ${text(flags, 'sort')}: known are ${SORTS.join(', ')}`);
  const everyMs = parseDuration(text(flags, 'interval') ?? '2s');
  if (everyMs < SHORTEST_MS) throw invalidArgument(`--interval ${text(flags, 'interval')}: the shortest is 500ms`);
  const wide = format(flags) === 'wide';
  if (ctx.stdout.isTTY === true && forPeople(flags) && !yes(flags, 'once'))
    return liveTop(ctx, {
      ...{ title: top.title, columns: top.columns, sort, wide, everyMs },
      ask: (by, limit) => top.first(by, limit),
    });
  const rows = [...(await top.all())];
  if (sort !== 'name') rows.sort((a, b) => top.value[sort](b) - top.value[sort](a));
  renderList(ctx, flags, { rows, columns: top.columns, name: (r) => r.name, empty: top.empty });
}

/** `12 VMs on, 3.1 of 40 CPUs, 12 GiB of 64 GiB memory, disk 1 MB/s in …`. */
export function headOf(what: string, t: StatisticsTotal | undefined): string {
  if (t === undefined) return '';
  const memory = `memory ${size(t.memoryUsedBytes) || '0'} of ${size(t.memoryBytes) || '0'}`;
  const disk = `disk ${rate(t.diskReadBytes)} read ${rate(t.diskWriteBytes)} written`;
  const net = `net ${rate(t.netReceiveBytes)} in ${rate(t.netTransmitBytes)} out`;
  return `${t.count} ${what}, CPU ${t.cpuUsed.toFixed(1)} of ${t.cpus}, ${memory}, ${disk}, ${net}`;
}

/** Nothing where it is not known yet. */
export const known = <R extends { readonly overMs: number }>(cell: (r: R) => string): ((r: R) => string) => {
  return (r) => (r.overMs === 0 ? '' : cell(r));
};

/** `1.2 GiB 60 %`. */
export const shareOf = (part: number, whole: number): string =>
  part <= 0 ? '' : whole > 0 ? `${size(part)} ${percent(part / whole).padStart(5)}` : size(part);
