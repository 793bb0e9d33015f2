/** The last ten minutes of a VM or a host: a line for each measure, with a picture, what it is now, and the most. Pure. */
import type { StatisticsPoint } from '@berth/proto/v1/statistics.ts';
import { formatDuration } from '@berth/shared/units/duration.ts';
import { percent } from '../core/words.ts';
import { latency, perSecond, rate, size, sparkline } from '../output/rates.ts';
import { tableLines, type Column } from '../output/table.ts';

type Measure = readonly [title: string, of: (p: StatisticsPoint) => number, show: (n: number) => string];

const MEASURES: readonly Measure[] = [
  ['cpu', (p) => p.cpuUsed, percent],
  ['memory', (p) => p.memoryUsedBytes, (n) => size(n) || '0'],
  ['disk read', (p) => p.diskReadBytes, rate],
  ['disk write', (p) => p.diskWriteBytes, rate],
  ['disk ops', (p) => p.diskOperations, perSecond],
  ['disk latency', (p) => p.diskMs, (n) => latency(n) || '0'],
  ['net in', (p) => p.netReceiveBytes, rate],
  ['net out', (p) => p.netTransmitBytes, rate],
];

interface How {
  /** Measures that this kind of object does not have. */
  readonly skip?: readonly string[];
  /** Letters in a line: the picture gets coarser where there are few. */
  readonly room?: number;
}

export function historyLines(
  points: readonly StatisticsPoint[],
  stepMs: number,
  { skip = [], room = Infinity }: How = {},
): string[] {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined) return ['nothing is known of the last ten minutes yet'];
  const spanMs = Number(last.atMs - first.atMs) + stepMs;
  const slots = Math.round(spanMs / stepMs);
  const rows = MEASURES.filter(([title]) => !skip.includes(title)).map(([title, of, show]) => {
    const values: (number | undefined)[] = Array.from({ length: slots }, () => undefined);
    for (const p of points) values[Math.min(slots - 1, Math.round(Number(p.atMs - first.atMs) / stepMs))] = of(p);
    const most = Math.max(...points.map(of));
    const mean = points.reduce((sum, p) => sum + of(p), 0) / points.length;
    return { title, now: show(of(last)), mean: show(mean), most: show(most), values, highest: most };
  });
  const figures: readonly Column<(typeof rows)[number]>[] = [
    { title: 'MEASURE', cell: (r) => r.title },
    { title: 'NOW', cell: (r) => r.now, right: true },
    { title: 'MEAN', cell: (r) => r.mean, right: true },
    { title: 'MOST', cell: (r) => r.most, right: true },
  ];
  const beside = Math.max(...tableLines(figures, rows, true).map((l) => l.length)) + 2;
  const together = Math.ceil(slots / Math.max(1, room - beside));
  const picture = (r: (typeof rows)[number]): string => sparkline(coarser(r.values, together), r.highest);
  const title = `LAST ${formatDuration(spanMs).toUpperCase()}`;
  return tableLines([...figures, { title, cell: picture, spare: 1 }], rows, true, room);
}

/** So many in one: the most of them, because a peak is what people look for. */
function coarser(values: readonly (number | undefined)[], together: number): readonly (number | undefined)[] {
  if (together <= 1) return values;
  return Array.from({ length: Math.ceil(values.length / together) }, (_, i) => {
    const known = values.slice(i * together, (i + 1) * together).filter((v) => v !== undefined);
    return known.length > 0 ? Math.max(...known) : undefined;
  });
}
