/** A host as people see it: intent, observation, and what is promised of it. Pure reads. */
import type { ClaimSums } from '@berth/shared/model/claim.ts';
import type { Host, HostFacts } from '@berth/shared/model/host.ts';
import type { Hosts, HostStatus } from '../hosts/hosts.ts';
import { foreignSums } from '../jobs/world.ts';
import { allMemoryBytes, largePagesBytes, memoryOf, withLargePages } from '../scheduler/capacity.ts';
import type { Policy } from '../scheduler/world.ts';
import type { Tables } from '../state/state.ts';

export interface HostCapacityView {
  readonly memoryBytes: number;
  readonly memoryAvailableBytes: number;
  readonly memoryClaimedBytes: number;
  /** Of domains that are not ours and run. */
  readonly memoryForeignBytes: number;
  /** Kept for large pages. */
  readonly memoryLargePagesBytes: number;
  readonly cpuThreads: number;
  readonly vcpusClaimed: number;
  readonly diskBytes: number;
  readonly diskFreeBytes: number;
  readonly diskClaimedBytes: number;
}

export interface HostDetails {
  readonly host: Host;
  readonly status: HostStatus;
  readonly capacity: HostCapacityView;
  readonly vmCount: number;
  readonly runningVmCount: number;
  readonly foreignCount: number;
  readonly runningForeignCount: number;
  /** Each in words. */
  readonly debts: readonly string[];
}

export interface HostSeen {
  readonly tables: Tables;
  readonly hosts: Hosts;
  readonly policy: Policy;
}

export function viewHost(host: Host, seen: HostSeen): HostDetails {
  const { tables, hosts } = seen;
  const status = reviewed(hosts.status(host.id), seen);
  const vms = tables.vms.byHost(host.id);
  return {
    host,
    status,
    capacity: capacityOf(host, status, seen),
    vmCount: vms.length,
    runningVmCount: vms.filter((vm) => hosts.vm(vm.id)?.power === 'running').length,
    foreignCount: status.foreign.length,
    runningForeignCount: foreignSums(status.foreign).powered.guests,
    debts: tables.debts.byHost(host.id).map((d) => `${d.kind} ${d.target}: ${d.why}`),
  };
}

function reviewed(status: HostStatus, { tables, hosts }: HostSeen): HostStatus {
  const { hostId, reason } = status;
  const pending = tables.reviews.get(hostId) !== undefined && hosts.has(hostId) !== undefined;
  const name = tables.hosts.get(hostId)?.name ?? hostId;
  return pending && reason === '' ? { ...status, reason: `restored: berth host review ${name}` } : status;
}

type MemoryView = Pick<
  HostCapacityView,
  'memoryBytes' | 'memoryAvailableBytes' | 'memoryClaimedBytes' | 'memoryForeignBytes' | 'memoryLargePagesBytes'
>;

function memoryView(facts: HostFacts | undefined, claims: ClaimSums, foreign: ClaimSums, policy: Policy): MemoryView {
  const domainType = facts?.domainType ?? 'kvm';
  const forGuests = facts ? allMemoryBytes(facts, policy) : 0;
  const foreignBytes = memoryOf(foreign.powered, domainType);
  return {
    memoryBytes: facts?.memoryBytes ?? 0,
    memoryAvailableBytes: Math.max(0, forGuests - foreignBytes),
    memoryClaimedBytes: memoryOf(claims.powered, domainType),
    memoryForeignBytes: foreignBytes,
    memoryLargePagesBytes: facts ? largePagesBytes(facts) : 0,
  };
}

function capacityOf(host: Host, status: HostStatus, { tables, policy }: HostSeen): HostCapacityView {
  const { statistics } = status;
  const facts = status.facts && withLargePages(status.facts, host.tuning);
  const claims = tables.claims.sums(host.id);
  return {
    ...memoryView(facts, claims, foreignSums(status.foreign), policy),
    cpuThreads: facts?.cpuThreads ?? 0,
    vcpusClaimed: claims.powered.vcpus,
    diskBytes: statistics?.diskBytes ?? facts?.diskBytes ?? 0,
    diskFreeBytes: statistics?.diskFreeBytes ?? facts?.diskFreeBytes ?? 0,
    diskClaimedBytes: claims.diskBytes,
  };
}
