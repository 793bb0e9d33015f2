/** Rates are of the right size, and never negative or absurd, whatever counters do. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DomainCounters, DomainStats } from '../drivers/hypervisor.ts';
import type { MachineCounters, NicCounters } from '../drivers/machine.ts';
import { domainFigures, hostFigures } from './rates.ts';

const NOTHING: DomainCounters = {
  ...{ atMs: 0, blockReads: 0, blockWrites: 0, blockFlushes: 0, blockReadNs: 0, blockWriteNs: 0, blockFlushNs: 0 },
  ...{ netReceivePackets: 0, netTransmitPackets: 0, netErrors: 0 },
  ...{ balloonBytes: 0, guestTotalBytes: 0, guestUsableBytes: 0 },
};
const domain = (more: Partial<DomainCounters>, over: Partial<DomainStats> = {}): DomainStats => ({
  ...{ uuid: 'u', cpuTimeNs: 0n, memoryUsedBytes: 0, netReceiveBytes: 0n, netTransmitBytes: 0n },
  ...{ blockReadBytes: 0n, blockWriteBytes: 0n },
  ...over,
  more: { ...NOTHING, ...more },
});

describe('figures of a domain', () => {
  it('are per second, and latencies the mean of what was done meanwhile', () => {
    const before = domain({ atMs: 1_000, blockReads: 10, blockReadNs: 5_000_000 }, { blockReadBytes: 100n });
    const now = domain({ atMs: 6_000, blockReads: 20, blockReadNs: 25_000_000 }, { blockReadBytes: 50_100n });
    expect(domainFigures(now, before)).toMatchObject({
      ...{ overMs: 5_000, blockReads: 2, blockReadMs: 2, blockReadBytes: 10_000 },
      ...{ blockWrites: 0, blockWriteMs: 0 },
    });
  });

  it('are not known from one sample alone, nor from two at nearly the same time', () => {
    const now = domain({ atMs: 1_050, blockReads: 5_000, guestTotalBytes: 9 });
    for (const before of [undefined, domain({ atMs: 1_000 })])
      expect(domainFigures(now, before)).toMatchObject({ overMs: 0, blockReads: 0, guestTotalBytes: 9 });
  });

  it('are nothing for a QEMU that was started anew meanwhile, also where a counter is higher than before', () => {
    const before = domain({ atMs: 0, blockReads: 5, netErrors: 9 }, { cpuTimeNs: 900n });
    const now = domain({ atMs: 10_000, blockReads: 5_000_000, netErrors: 1 }, { cpuTimeNs: 100n });
    expect(domainFigures(now, before)).toMatchObject({ overMs: 10_000, blockReads: 0, netErrors: 0 });
  });

  it('count a device that was taken out as nothing, and go on with the others', () => {
    const before = domain({ atMs: 0, blockReads: 900, netReceivePackets: 10 });
    const now = domain({ atMs: 1_000, blockReads: 100, netReceivePackets: 30 });
    expect(domainFigures(now, before)).toMatchObject({ blockReads: 0, netReceivePackets: 20 });
  });

  it('are finite and not below zero for any counters in any order', () => {
    const count = fc.nat(2 ** 31 - 1);
    const any = fc
      .tuple(count, count, count, count, count, fc.bigInt(0n, 2n ** 63n))
      .map(([atMs, blockReads, blockReadNs, blockWrites, netErrors, cpuTimeNs]) =>
        domain({ atMs, blockReads, blockReadNs, blockWrites, netErrors }, { cpuTimeNs, blockReadBytes: cpuTimeNs }),
      );
    fc.assert(
      fc.property(any, any, (now, before) =>
        Object.values(domainFigures(now, before) ?? {}).every((n) => Number.isFinite(n) && n >= 0),
      ),
    );
  });

  it('are absent from a driver that has none', () => {
    const { more: _, ...bare } = domain({});
    expect(domainFigures(bare, undefined)).toBeUndefined();
  });
});

describe('figures of a host', () => {
  const nic = (name: string, receiveBytes: number): NicCounters => ({
    ...{ name, kind: 'physical', receiveBytes, transmitBytes: 0, receivePackets: 0, transmitPackets: 0 },
    ...{ errors: 0, drops: 0 },
  });
  const machine = (atMs: number, nics: readonly NicCounters[]): MachineCounters => ({
    ...{
      atMs,
      cpus: 1,
      cpuIowait: 0,
      cpuSteal: 0,
      load5: 0,
      load15: 0,
      memoryBytes: 1,
      swapBytes: 0,
      swapUsedBytes: 0,
    },
    ...{ diskReadBytes: atMs, diskWriteBytes: 0, diskReads: 0, diskWrites: 0, nics },
  });

  it('follow each network card by its name; one that is new has no rate yet, one that was made anew none', () => {
    const before = machine(0, [nic('a', 1_000), nic('b', 500)]);
    const now = machine(2_000, [nic('c', 99), nic('b', 700), nic('a', 10)]);
    const figures = hostFigures(now, before);
    expect(figures.nics.map((n) => [n.name, n.receiveBytes])).toEqual([
      ['c', 0],
      ['b', 100],
      ['a', 0],
    ]);
    expect(figures).toMatchObject({ overMs: 2_000, diskReadBytes: 1_000 });
    expect(hostFigures(now, undefined)).toMatchObject({ overMs: 0, diskReadBytes: 0 });
  });
});
