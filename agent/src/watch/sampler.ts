/** Statistics of the host and its domains, with rates made from counters. Bounded by a deadline; never touches anything else. */
import type { HostFigures } from '@berth/shared/model/statistics.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Drivers, MachineCounters, MachineLoad } from '../drivers/machine.ts';
import type { DomainStats } from '../drivers/hypervisor.ts';
import type { DomainUse, Sample } from './items.ts';
import { domainFigures, hostFigures } from './rates.ts';

const DEADLINE_MS = 3_000;
/** Several watchers share one sample. */
const SHARE_MS = 900;
/** The directory that volumes and images lie in. */
const POOL = 'default';

interface Before {
  readonly stats: DomainStats;
  readonly atMs: number;
}

/** What a sample was made from, for those who want counters and not rates. */
export interface Reading {
  /** When libvirt answered, on the monotonic clock; undefined: it did not. */
  readonly statsAtMs: number | undefined;
  readonly stats: readonly DomainStats[];
  readonly machine: MachineLoad;
  readonly capacity: { readonly diskBytes: number; readonly diskFreeBytes: number };
}

export interface SamplerOptions {
  readonly onReading?: (reading: Reading) => void;
  /** Asked before each sample; see Hypervisor.stats. */
  readonly wantsVcpus?: () => boolean;
}

export function createSampler(drivers: Drivers, clock: Clock, o: SamplerOptions = {}): () => Promise<Sample> {
  let before = new Map<string, Before>();
  let machine: MachineCounters | undefined;
  let shared: { atMs: number; sample: Promise<Sample> } | undefined;

  const take = async (): Promise<Sample> => {
    const [{ more, ...load }, capacity, answer] = await Promise.all([
      drivers.machine.load(),
      drivers.disks.capacity(),
      // without libvirt the host's own figures still count
      drivers.hypervisor.stats(DEADLINE_MS, o.wantsVcpus?.() === true).catch(() => undefined),
    ]);
    const came = clock.monotonic();
    const stats = answer ?? [];
    const reading = { ...load, ...(more && { more }) };
    o.onReading?.({ statsAtMs: answer && came, stats, machine: reading, capacity });
    const now = new Map(stats.map((s) => [s.uuid, { stats: s, atMs: s.more?.atMs ?? came }]));
    const domains = [...now.values()].map((s) => domainUse(s, before.get(s.stats.uuid)));
    before = now;
    const figures: HostFigures | undefined = more && {
      ...hostFigures(more, machine),
      pools: [{ name: POOL, sizeBytes: capacity.diskBytes, freeBytes: capacity.diskFreeBytes }],
    };
    machine = more;
    return { atMs: clock.now(), ...load, ...capacity, figures, domains, silent: drivers.hypervisor.silent?.() ?? [] };
  };

  return () => {
    const now = clock.monotonic();
    if (shared === undefined || now - shared.atMs > SHARE_MS) shared = { atMs: now, sample: take() };
    return shared.sample;
  };
}

function domainUse({ stats: s, atMs }: Before, last: Before | undefined): DomainUse {
  const passedNs = last === undefined ? 0 : (atMs - last.atMs) * 1e6;
  // a domain that was started anew counts from zero again
  const usedNs =
    last === undefined || s.cpuTimeNs < last.stats.cpuTimeNs ? 0 : Number(s.cpuTimeNs - last.stats.cpuTimeNs);
  return {
    uuid: s.uuid,
    cpuUsed: passedNs > 0 ? usedNs / passedNs : 0,
    memoryUsedBytes: s.memoryUsedBytes ?? 0,
    blockReadBytes: s.blockReadBytes,
    blockWriteBytes: s.blockWriteBytes,
    netReceiveBytes: s.netReceiveBytes,
    netTransmitBytes: s.netTransmitBytes,
    figures: domainFigures(s, last?.stats),
  };
}
