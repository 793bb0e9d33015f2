/** How much a host has, how much of it is promised, and what one VM costs beyond its own memory. Pure arithmetic. */
import type { Claim } from '@berth/shared/model/claim.ts';
import type { HostFacts } from '@berth/shared/model/host.ts';
import type { VmId } from '@berth/shared/model/ids.ts';
import type { Policy, WorldHost } from './world.ts';

const MIB = 1024 * 1024;

/**
 * Memory that QEMU takes on the host beyond the guest's own: 96 MiB for the process and its devices, 8 MiB per vCPU (stack,
 * vCPU state, I/O rings), 1/256 of the guest's memory (page tables of guest and host, dirty bitmap). An emulated CPU keeps
 * translated code too: 64 MiB more.
 */
export function qemuOverheadBytes(vm: { vcpus: number; memoryBytes: number }, domainType: string): number {
  const translated = domainType === 'kvm' ? 0 : 64 * MIB;
  return 96 * MIB + 8 * MIB * vm.vcpus + Math.ceil(vm.memoryBytes / 256) + translated;
}

export interface Load {
  readonly vcpus: number;
  readonly memoryBytes: number;
}

/** What guests take: those that run, start or stop (`powered`), or all that live here. */
export function load(host: WorldHost, facts: HostFacts, which: 'powered' | 'all', except: VmId | undefined): Load {
  const claims = host.claims.filter((c) => c.vmId !== except && (which === 'all' || c.powered));
  const foreign = host.foreign.filter((d) => which === 'all' || d.running);
  const each = [...claims, ...foreign];
  return {
    vcpus: each.reduce((n, g) => n + g.vcpus, 0),
    memoryBytes: each.reduce((n, g) => n + g.memoryBytes + qemuOverheadBytes(g, facts.domainType), 0),
  };
}

export interface Capacity {
  readonly vcpus: number;
  readonly memoryBytes: number;
}

/** What may be promised in all. */
export function capacity(facts: HostFacts, policy: Policy): Capacity {
  const reserve = policy.memoryReserveBytes + facts.memoryBytes * policy.memoryReserveShare;
  return {
    vcpus: Math.floor(facts.cpuThreads * policy.cpuOvercommit),
    memoryBytes: Math.floor(Math.max(0, facts.memoryBytes - reserve) * policy.memoryOvercommit),
  };
}

/**
 * Room for more thin disks. Disks that exist may grow to what was claimed for them; so what can be promised is what is free
 * plus what they hold already, less the reserve, and what is left is that without the claims.
 */
export function diskRoomBytes(host: WorldHost, facts: HostFacts, policy: Policy, except: VmId | undefined): number {
  const theirs = host.diskFreeBytes + host.allocatedBytes - facts.diskBytes * policy.diskReserveShare;
  return Math.floor(theirs * policy.diskOvercommit) - claimedDiskBytes(host.claims, except);
}

export const claimedDiskBytes = (claims: readonly Claim[], except?: VmId): number =>
  claims.reduce((n, c) => (c.vmId === except ? n : n + c.diskBytes), 0);
