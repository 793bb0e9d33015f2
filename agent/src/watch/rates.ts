/**
 * Rates from two readings of counters. Pure. A counter that went backwards (a new QEMU, a device that was taken out, a guest
 * that came from another host) counts as nothing, and all of a domain whose CPU time went backwards do: it was started anew.
 */
import type { DomainFigures, HostFigures, NicFigures } from '@berth/shared/model/statistics.ts';
import type { DomainStats } from '../drivers/hypervisor.ts';
import type { MachineCounters } from '../drivers/machine.ts';

/** A shorter time than this makes rates of nothing but noise. */
const SHORTEST_MS = 100;

/** @param before of the same domain. */
export function domainFigures(now: DomainStats, before: DomainStats | undefined): DomainFigures | undefined {
  const { more } = now;
  if (more === undefined) return undefined;
  const then = before?.more;
  const forMs = then === undefined ? 0 : more.atMs - then.atMs;
  const known = then !== undefined && before !== undefined && forMs >= SHORTEST_MS;
  const anew = known && now.cpuTimeNs < before.cpuTimeNs;
  const grown = (a: number, b: number | undefined): number => (known && !anew ? Math.max(0, a - (b ?? a)) : 0);
  const rate = (a: number, b: number | undefined): number => (grown(a, b) * 1000) / (known ? forMs : 1);
  const big = (a: bigint, b: bigint | undefined): number => rate(Number(a), b === undefined ? undefined : Number(b));
  const mean = (ns: number, nsBefore: number | undefined, n: number, nBefore: number | undefined): number => {
    const many = grown(n, nBefore);
    return many === 0 ? 0 : grown(ns, nsBefore) / many / 1e6;
  };
  return {
    overMs: known ? forMs : 0,
    blockReadBytes: big(now.blockReadBytes, before?.blockReadBytes),
    blockWriteBytes: big(now.blockWriteBytes, before?.blockWriteBytes),
    blockReads: rate(more.blockReads, then?.blockReads),
    blockWrites: rate(more.blockWrites, then?.blockWrites),
    blockFlushes: rate(more.blockFlushes, then?.blockFlushes),
    blockReadMs: mean(more.blockReadNs, then?.blockReadNs, more.blockReads, then?.blockReads),
    blockWriteMs: mean(more.blockWriteNs, then?.blockWriteNs, more.blockWrites, then?.blockWrites),
    blockFlushMs: mean(more.blockFlushNs, then?.blockFlushNs, more.blockFlushes, then?.blockFlushes),
    netReceiveBytes: big(now.netReceiveBytes, before?.netReceiveBytes),
    netTransmitBytes: big(now.netTransmitBytes, before?.netTransmitBytes),
    netReceivePackets: rate(more.netReceivePackets, then?.netReceivePackets),
    netTransmitPackets: rate(more.netTransmitPackets, then?.netTransmitPackets),
    netErrors: rate(more.netErrors, then?.netErrors),
    balloonBytes: more.balloonBytes,
    guestTotalBytes: more.guestTotalBytes,
    guestUsableBytes: more.guestUsableBytes,
  };
}

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
