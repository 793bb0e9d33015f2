/** Statistics of the host and its domains, with rates made from counters. Bounded by a deadline; never touches anything else. */
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Drivers } from '../drivers/machine.ts';
import type { DomainStats } from '../drivers/hypervisor.ts';
import type { DomainUse, Sample } from './items.ts';

const DEADLINE_MS = 3_000;
/** Several watchers share one sample. */
const SHARE_MS = 900;

export function createSampler(drivers: Drivers, clock: Clock): () => Promise<Sample> {
  let before = new Map<string, { cpuTimeNs: bigint; atMs: number }>();
  let shared: { atMs: number; sample: Promise<Sample> } | undefined;

  const take = async (): Promise<Sample> => {
    const [load, capacity, stats] = await Promise.all([
      drivers.machine.load(),
      drivers.disks.capacity(),
      // without libvirt the host's own figures still count
      drivers.hypervisor.stats(DEADLINE_MS).catch((): readonly DomainStats[] => []),
    ]);
    const atMs = clock.monotonic();
    const domains = stats.map((s) => domainUse(s, before.get(s.uuid), atMs));
    before = new Map(stats.map((s) => [s.uuid, { cpuTimeNs: s.cpuTimeNs, atMs }]));
    return { atMs: clock.now(), ...load, ...capacity, domains, silent: drivers.hypervisor.silent?.() ?? [] };
  };

  return () => {
    const now = clock.monotonic();
    if (shared === undefined || now - shared.atMs > SHARE_MS) shared = { atMs: now, sample: take() };
    return shared.sample;
  };
}

function domainUse(s: DomainStats, last: { cpuTimeNs: bigint; atMs: number } | undefined, atMs: number): DomainUse {
  const passedNs = last === undefined ? 0 : (atMs - last.atMs) * 1e6;
  // a domain that was started anew counts from zero again
  const usedNs = last === undefined || s.cpuTimeNs < last.cpuTimeNs ? 0 : Number(s.cpuTimeNs - last.cpuTimeNs);
  return {
    uuid: s.uuid,
    cpuUsed: passedNs > 0 ? usedNs / passedNs : 0,
    memoryUsedBytes: s.memoryUsedBytes ?? 0,
    blockReadBytes: s.blockReadBytes,
    blockWriteBytes: s.blockWriteBytes,
    netReceiveBytes: s.netReceiveBytes,
    netTransmitBytes: s.netTransmitBytes,
  };
}
