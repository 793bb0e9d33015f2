/**
 * Rates from two readings of counters. Pure. A counter that went backwards (a new QEMU, a device that was taken out, a guest
 * that came from another host) counts as nothing, and all of a domain whose CPU time went backwards do: it was started anew.
 */
import type { DomainFigures, HostFigures, NicFigures } from '@berth/shared/model/statistics.ts';
import type { DomainCounters, DomainStats } from '../drivers/hypervisor.ts';
import type { MachineCounters } from '../drivers/machine.ts';

/** A shorter time than this makes rates of nothing but noise. */
const SHORTEST_MS = 100;

type NotCounted =
  | 'atMs'
  | 'balloonBytes'
  | 'guestTotalBytes'
  | 'guestUsableBytes'
  | 'cpuUserNs'
  | 'cpuSystemNs'
  | 'vcpuDelayNs'
  | 'disks'
  | 'nics';
type Counted = Omit<DomainCounters, NotCounted> & {
  readonly blockReadBytes: number;
  readonly blockWriteBytes: number;
  readonly netReceiveBytes: number;
  readonly netTransmitBytes: number;
};

/** @param before of the same domain. */
export function domainFigures(now: DomainStats, before: DomainStats | undefined): DomainFigures | undefined {
  const { more } = now;
  if (more === undefined) return undefined;
  const then = before?.more && { stats: before, more: before.more };
  const forMs = then === undefined ? 0 : more.atMs - then.more.atMs;
  const overMs = forMs >= SHORTEST_MS ? forMs : 0;
  const anew = then === undefined || now.cpuTimeNs < then.stats.cpuTimeNs;
  const grown = overMs === 0 || anew ? () => 0 : growth(counted(now, more), counted(then.stats, then.more));
  const rate = (of: keyof Counted): number => (overMs === 0 ? 0 : (grown(of) * 1000) / overMs);
  const mean = (ns: keyof Counted, of: keyof Counted): number => (grown(of) === 0 ? 0 : grown(ns) / grown(of) / 1e6);
  return {
    overMs,
    ...{ blockReadBytes: rate('blockReadBytes'), blockWriteBytes: rate('blockWriteBytes') },
    ...{ blockReads: rate('blockReads'), blockWrites: rate('blockWrites'), blockFlushes: rate('blockFlushes') },
    blockReadMs: mean('blockReadNs', 'blockReads'),
    blockWriteMs: mean('blockWriteNs', 'blockWrites'),
    blockFlushMs: mean('blockFlushNs', 'blockFlushes'),
    ...{ netReceiveBytes: rate('netReceiveBytes'), netTransmitBytes: rate('netTransmitBytes') },
    ...{ netReceivePackets: rate('netReceivePackets'), netTransmitPackets: rate('netTransmitPackets') },
    netErrors: rate('netErrors'),
    ...{ balloonBytes: more.balloonBytes, guestTotalBytes: more.guestTotalBytes },
    guestUsableBytes: more.guestUsableBytes,
  };
}

const growth =
  (now: Counted, before: Counted) =>
  (of: keyof Counted): number =>
    Math.max(0, now[of] - before[of]);

const counted = (s: DomainStats, more: DomainCounters): Counted => ({
  ...more,
  blockReadBytes: Number(s.blockReadBytes),
  blockWriteBytes: Number(s.blockWriteBytes),
  netReceiveBytes: Number(s.netReceiveBytes),
  netTransmitBytes: Number(s.netTransmitBytes),
});

/** @param before of the same host. */
export function hostFigures(now: MachineCounters, before: MachineCounters | undefined): Omit<HostFigures, 'pools'> {
  const forMs = before === undefined ? 0 : now.atMs - before.atMs;
  const known = forMs >= SHORTEST_MS;
  const rate = (a: number, b: number | undefined): number =>
    known && b !== undefined ? (Math.max(0, a - b) * 1000) / forMs : 0;
  const nics = now.nics.map((n): NicFigures => {
    const then = before?.nics.find((o) => o.name === n.name);
    return {
      name: n.name,
      kind: n.kind,
      receiveBytes: rate(n.receiveBytes, then?.receiveBytes),
      transmitBytes: rate(n.transmitBytes, then?.transmitBytes),
      receivePackets: rate(n.receivePackets, then?.receivePackets),
      transmitPackets: rate(n.transmitPackets, then?.transmitPackets),
      errors: rate(n.errors, then?.errors),
      drops: rate(n.drops, then?.drops),
    };
  });
  return {
    overMs: known ? forMs : 0,
    ...{ load5: now.load5, load15: now.load15, memoryBytes: now.memoryBytes },
    ...{ swapBytes: now.swapBytes, swapUsedBytes: now.swapUsedBytes },
    ...{ cpuIowait: now.cpuIowait, cpuSteal: now.cpuSteal },
    diskReadBytes: rate(now.diskReadBytes, before?.diskReadBytes),
    diskWriteBytes: rate(now.diskWriteBytes, before?.diskWriteBytes),
    diskReads: rate(now.diskReads, before?.diskReads),
    diskWrites: rate(now.diskWrites, before?.diskWrites),
    nics,
  };
}
