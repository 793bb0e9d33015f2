/** How much a host has, how much of it is promised, and what one VM costs beyond its own memory. Pure arithmetic. */
import { plainBytes, type Claim, type GuestSum } from '@berth/shared/model/claim.ts';
import type { HostFacts } from '@berth/shared/model/host.ts';
import { hugePagesOf, type Tuning } from '@berth/shared/model/tuning.ts';
import type { PlacementRequest, Policy, WorldHost, WorldPool } from './world.ts';

const MIB = 1024 * 1024;

/**
 * Memory that QEMU takes on the host beyond the guests' own: 96 MiB for each process and its devices, 8 MiB per vCPU (stack,
 * vCPU state, I/O rings), 1/256 of a guest's memory (page tables of guest and host, dirty bitmap). An emulated CPU keeps
 * translated code too: 64 MiB more.
 */
export function qemuOverheadBytes(g: GuestSum, domainType: string): number {
  const each = domainType === 'kvm' ? 96 * MIB : 160 * MIB;
  return each * g.guests + 8 * MIB * g.vcpus + g.memoryBytes / 256;
}

/** Guests with what QEMU takes for them. */
export const memoryOf = (g: GuestSum, domainType: string): number => g.memoryBytes + qemuOverheadBytes(g, domainType);

/** Of guests that run, start or stop (`powered`), or of all that live here; without the claim of the one that is placed. */
type Which = 'powered' | 'all';
type Own = PlacementRequest['own'];

const counts = (own: Own, host: WorldHost, which: Which): own is NonNullable<Own> =>
  own !== undefined && own.hostId === host.id && (which === 'all' || own.powered);

export function takenVcpus(host: WorldHost, which: Which, own: Own): number {
  const { claims, foreign } = host;
  const taken = which === 'all' ? claims.all.vcpus + foreign.all.vcpus : claims.powered.vcpus + foreign.powered.vcpus;
  return counts(own, host, which) ? taken - own.vcpus : taken;
}

export function takenMemoryBytes(host: WorldHost, facts: HostFacts, which: Which, own: Own): number {
  const { domainType } = facts;
  const { claims, foreign } = host;
  const taken =
    which === 'all'
      ? memoryOf(claims.all, domainType) + memoryOf(foreign.all, domainType)
      : memoryOf(claims.powered, domainType) + memoryOf(foreign.powered, domainType);
  return counts(own, host, which) ? taken - memoryOf(oneGuest(own), domainType) : taken;
}

export const oneGuest = (g: Pick<Claim, 'vcpus' | 'memoryBytes' | 'pageBytes'>): GuestSum => ({
  guests: 1,
  vcpus: g.vcpus,
  memoryBytes: plainBytes(g),
});

/** Memory in large pages of this size that the host has now and that is not promised. */
export function freeLargeBytes(host: WorldHost, facts: HostFacts, pageBytes: number, own: Own): number {
  const pages = facts.largePages?.find((p) => p.sizeBytes === pageBytes);
  const held = counts(own, host, 'powered') && own.pageBytes === pageBytes ? own.memoryBytes : 0;
  return (pages?.total ?? 0) * pageBytes - (host.claims.poweredLarge.get(pageBytes) ?? 0) + held;
}

/** What may be promised in all. */
export const allVcpus = (facts: HostFacts, policy: Policy): number =>
  Math.floor(facts.cpuThreads * policy.cpuOvercommit);

export function allMemoryBytes(facts: HostFacts, policy: Policy): number {
  const reserve = policy.memoryReserveBytes + facts.memoryBytes * policy.memoryReserveShare;
  return Math.floor(Math.max(0, facts.memoryBytes - largePagesBytes(facts) - reserve) * policy.memoryOvercommit);
}

/** Kept for large pages, and so for nothing else; never more than the host has, whatever it says. */
export const largePagesBytes = (facts: Pick<HostFacts, 'largePages' | 'memoryBytes'>): number =>
  Math.min(
    facts.memoryBytes,
    (facts.largePages ?? []).reduce((sum, p) => sum + p.sizeBytes * Math.max(p.total, p.wanted ?? 0), 0),
  );

/** As the host will be: large pages that it shall keep count before it has them. */
export function withLargePages(facts: HostFacts, tuning: Tuning | undefined): HostFacts {
  const wanted = hugePagesOf(tuning);
  if (wanted.size === 0) return facts;
  const seen = facts.largePages ?? [];
  const sizes = new Set([...seen.map((p) => p.sizeBytes), ...wanted.keys()]);
  const largePages = [...sizes].map((sizeBytes) => ({
    ...(seen.find((p) => p.sizeBytes === sizeBytes) ?? { sizeBytes, total: 0, free: 0 }),
    wanted: (wanted.get(sizeBytes) ?? 0) / sizeBytes,
  }));
  return { ...facts, largePages };
}

/**
 * Room for more thin disks. Disks that exist may grow to what was claimed for them; so what can be promised is what is free
 * plus what they hold already, less the reserve, and what is left is that without the claims.
 */
export function diskRoomBytes(host: WorldHost, facts: HostFacts, policy: Policy, own: Own): number {
  const theirs = host.diskFreeBytes + host.allocatedBytes - facts.diskBytes * policy.diskReserveShare;
  const claimed = host.claims.diskBytes - (own?.hostId === host.id ? own.diskBytes : 0);
  return Math.floor(theirs * policy.diskOvercommit) - claimed;
}

/** The same of a pool, without reserve: its own threshold keeps one. */
export const poolRoomBytes = (p: WorldPool): number =>
  Math.floor((p.availableBytes + p.held()) * p.overcommit) - p.promised();

/** Of what is not known, nothing. */
export const usedShare = (allBytes: number, freeBytes: number): number =>
  allBytes <= 0 ? 0 : Math.max(0, 1 - freeBytes / allBytes);
