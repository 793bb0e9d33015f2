/**
 * Statistics of the host and its domains: counters for scrapes, and rates made from them for the controller. Bounded by a deadline; never
 * touches anything else.
 */
import type { HostFigures } from '@berth/shared/model/statistics.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Drivers, MachineCounters, MachineLoad } from '../drivers/machine.ts';
import type { DomainStats, SilentDomain } from '../drivers/hypervisor.ts';
import type { DomainUse, Sample } from './items.ts';
import { domainFigures, hostFigures } from './rates.ts';

const DEADLINE_MS = 3_000;
/** Several watchers share one sample, and several scrapes one reading. */
const SHARE_MS = 900;
/** The directory that volumes and images lie in. */
const POOL = 'default';

interface Before {
  readonly stats: DomainStats;
  readonly atMs: number;
}

/** What a sample was made from, for those who want counters and not rates. */
export interface Reading {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  /** The same moment on the monotonic clock. */
  readonly cameAtMs: number;
  /** When libvirt answered, on the monotonic clock; undefined: it did not. */
  readonly statsAtMs: number | undefined;
  readonly stats: readonly DomainStats[];
  readonly machine: MachineLoad;
  readonly capacity: { readonly diskBytes: number; readonly diskFreeBytes: number };
}

export interface SamplerOptions {
  readonly onReading?: (reading: Reading) => void;
  /** Asked before each reading; see Hypervisor.stats. */
  readonly wantsVcpus?: () => boolean;
}

export interface Sampler {
  /** Counters, read now; who asks at about the same time gets the same. Fails where the machine's own files cannot be read. */
  read(): Promise<Reading>;
  /**
   * Rates since the last sample: of a reading that somebody has had taken since then, when that is recent enough, otherwise of a
   * new one. Several watchers share one.
   * @param maxAgeMs how old such a reading may be; default: none may
   */
  sample(maxAgeMs?: number): Promise<Sample>;
}

interface Shared<T> {
  readonly atMs: number;
  readonly it: Promise<T>;
}

export function createSampler(drivers: Drivers, clock: Clock, o: SamplerOptions = {}): Sampler {
  let reading: Shared<Reading> | undefined;
  let sample: Shared<Sample> | undefined;
  let used: Shared<Reading> | undefined;
  const isWithin = (of: Shared<unknown>, ms: number): boolean => clock.monotonic() - of.atMs <= ms;

  const take = async (): Promise<Reading> => {
    const [machine, capacity, answer] = await Promise.all([
      drivers.machine.load(),
      drivers.disks.capacity(),
      // without libvirt the host's own figures still count
      drivers.hypervisor.stats(DEADLINE_MS, o.wantsVcpus?.() === true).catch(() => undefined),
    ]);
    const cameAtMs = clock.monotonic();
    const statsAtMs = answer && cameAtMs;
    const taken = { atMs: clock.now(), cameAtMs, statsAtMs, stats: answer ?? [], machine, capacity };
    o.onReading?.(taken);
    return taken;
  };
  const rated = rates(() => drivers.hypervisor.silent?.() ?? []);

  const read = (): Shared<Reading> => {
    if (reading === undefined || !isWithin(reading, SHARE_MS)) reading = { atMs: clock.monotonic(), it: take() };
    return reading;
  };
  return {
    read: () => read().it,
    sample(maxAgeMs = 0) {
      if (sample !== undefined && isWithin(sample, SHARE_MS)) return sample.it;
      used = reading !== undefined && reading !== used && isWithin(reading, maxAgeMs) ? reading : read();
      sample = { atMs: clock.monotonic(), it: used.it.then(rated) };
      return sample.it;
    },
  };
}

/** Remembers the reading before: a rate is of two. */
function rates(silent: () => readonly SilentDomain[]): (reading: Reading) => Sample {
  let before = new Map<string, Before>();
  let machine: MachineCounters | undefined;
  return ({ atMs, cameAtMs, stats, machine: { more, ...load }, capacity }) => {
    const now = new Map(stats.map((s) => [s.uuid, { stats: s, atMs: s.more?.atMs ?? cameAtMs }]));
    const domains = [...now.values()].map((s) => domainUse(s, before.get(s.stats.uuid)));
    before = now;
    const figures: HostFigures | undefined = more && {
      ...hostFigures(more, machine),
      pools: [{ name: POOL, sizeBytes: capacity.diskBytes, freeBytes: capacity.diskFreeBytes }],
    };
    machine = more;
    return { atMs, ...load, ...capacity, figures, domains, silent: silent() };
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
