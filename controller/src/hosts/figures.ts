/**
 * How busy the domains of one host are, as its last sample told: a row of numbers each, because there are many, and all of
 * them come anew every ten seconds. What an agent sends is bounded here; absurd numbers count as 0.
 */
import type { DomainStatistics, HostFigures as HostFiguresOnWire } from '@berth/proto/agent/v1/watch.ts';
import type { HostFigures } from '@berth/shared/model/statistics.ts';
import { clip } from './limits.ts';

const FIELDS = [
  'cpuUsed',
  'memoryUsedBytes',
  'overMs',
  'diskReadBytes',
  'diskWriteBytes',
  'diskReads',
  'diskWrites',
  'diskFlushes',
  'diskReadMs',
  'diskWriteMs',
  'diskFlushMs',
  'netReceiveBytes',
  'netTransmitBytes',
  'netReceivePackets',
  'netTransmitPackets',
  'netErrors',
  'balloonBytes',
  'guestTotalBytes',
  'guestUsableBytes',
] as const;

/** Rates are per second over `overMs`; 0 there: not known yet. `cpuUsed` is a share of one CPU. */
export type VmStatistics = Readonly<Record<(typeof FIELDS)[number], number>>;

/** A measure from 0 to `most`; what is no such number counts as 0. */
export const measure = (n: number, most: number): number => (n >= 0 ? Math.min(n, most) : 0);

const MOST = Number.MAX_SAFE_INTEGER;
const MOST_CPU = 65_536;
const MOST_NICS = 128;
const MOST_POOLS = 64;

export class DomainFiguresTable {
  private readonly rows = new Map<string, number>();
  private numbers = new Float64Array(0);

  get size(): number {
    return this.rows.size;
  }

  get(uuid: string): VmStatistics | undefined {
    const row = this.rows.get(uuid);
    if (row === undefined) return undefined;
    const at = row * FIELDS.length;
    const n = (i: number): number => this.numbers[at + i] ?? 0;
    // spelt out, here and where these are counted: it is done for every VM at every sample, and other ways take ten times as long
    return {
      cpuUsed: n(0),
      memoryUsedBytes: n(1),
      overMs: n(2),
      diskReadBytes: n(3),
      diskWriteBytes: n(4),
      diskReads: n(5),
      diskWrites: n(6),
      diskFlushes: n(7),
      diskReadMs: n(8),
      diskWriteMs: n(9),
      diskFlushMs: n(10),
      netReceiveBytes: n(11),
      netTransmitBytes: n(12),
      netReceivePackets: n(13),
      netTransmitPackets: n(14),
      netErrors: n(15),
      balloonBytes: n(16),
      guestTotalBytes: n(17),
      guestUsableBytes: n(18),
    };
  }

  delete(uuid: string): void {
    this.rows.delete(uuid);
  }

  /** In place of all that was there. */
  replace(domains: readonly DomainStatistics[]): void {
    this.rows.clear();
    const wanted = domains.length * FIELDS.length;
    if (this.numbers.length < wanted || this.numbers.length > 4 * wanted) this.numbers = new Float64Array(wanted);
    for (const d of domains) {
      const row = this.rows.size;
      this.rows.set(d.uuid, row);
      this.write(row, d);
    }
  }

  private write(row: number, d: DomainStatistics): void {
    const at = row * FIELDS.length;
    const put = (i: number, n: number): void => void (this.numbers[at + i] = measure(n, MOST));
    put(0, measure(d.cpuUsed, MOST_CPU));
    put(1, Number(d.memoryUsedBytes));
    this.numbers.fill(0, at + 2, at + FIELDS.length);
    const { figures: f } = d;
    if (f === undefined) return;
    put(2, f.overMs);
    put(3, f.blockReadBytes);
    put(4, f.blockWriteBytes);
    put(5, f.blockReads);
    put(6, f.blockWrites);
    put(7, f.blockFlushes);
    put(8, f.blockReadMs);
    put(9, f.blockWriteMs);
    put(10, f.blockFlushMs);
    put(11, f.netReceiveBytes);
    put(12, f.netTransmitBytes);
    put(13, f.netReceivePackets);
    put(14, f.netTransmitPackets);
    put(15, f.netErrors);
    put(16, f.balloonBytes);
    put(17, f.guestTotalBytes);
    put(18, f.guestUsableBytes);
  }
}

export function toHostFigures(f: HostFiguresOnWire | undefined): HostFigures | undefined {
  if (f === undefined) return undefined;
  const share = (n: number): number => measure(n, 1);
  const plain = (n: number): number => measure(n, MOST);
  return {
    ...{ overMs: plain(f.overMs), cpuIowait: share(f.cpuIowait), cpuSteal: share(f.cpuSteal) },
    ...{ load5: measure(f.load5, 1e6), load15: measure(f.load15, 1e6), memoryBytes: plain(f.memoryBytes) },
    ...{ swapBytes: plain(f.swapBytes), swapUsedBytes: plain(f.swapUsedBytes) },
    ...{ diskReadBytes: plain(f.diskReadBytes), diskWriteBytes: plain(f.diskWriteBytes) },
    ...{ diskReads: plain(f.diskReads), diskWrites: plain(f.diskWrites) },
    nics: f.nics.slice(0, MOST_NICS).map((n) => ({
      ...{ name: clip(n.name, 64), kind: clip(n.kind, 16) },
      ...{ receiveBytes: plain(n.receiveBytes), transmitBytes: plain(n.transmitBytes) },
      ...{ receivePackets: plain(n.receivePackets), transmitPackets: plain(n.transmitPackets) },
      ...{ errors: plain(n.errors), drops: plain(n.drops) },
    })),
    pools: f.pools.slice(0, MOST_POOLS).map((p) => {
      const sizeBytes = plain(p.sizeBytes);
      return { name: clip(p.name, 64), sizeBytes, freeBytes: measure(p.freeBytes, sizeBytes) };
    }),
  };
}
