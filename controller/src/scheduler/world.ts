/**
 * What the scheduler looks at: the cluster's policy, its hosts with what they have and what was promised, and one request.
 * Plain data, given by the caller; the scheduler reads no clock, no table and no network.
 */
import type { Claim, ClaimSums } from '@berth/shared/model/claim.ts';
import type { WorkedOutCpu } from '@berth/shared/model/cpu.ts';
import type { Bridge, HostFacts, HostState } from '@berth/shared/model/host.ts';
import type { HostId, VmId } from '@berth/shared/model/ids.ts';

export interface Policy {
  /** vCPUs that may be promised per hardware thread. */
  readonly cpuOvercommit: number;
  /** Guest memory that may be promised per byte that is left for guests. */
  readonly memoryOvercommit: number;
  /** Growth of thin disks that may be promised per byte that is free or already theirs. */
  readonly diskOvercommit: number;
  /** Kept for the host itself: so many bytes, and so large a share of all its memory. */
  readonly memoryReserveBytes: number;
  readonly memoryReserveShare: number;
  /** Share of a pool that is never promised. */
  readonly diskReserveShare: number;
  /** From this share in use on, nothing more is placed in pool `local`. Absent: never. */
  readonly diskStopShare?: number;
}

const MIB = 1024 * 1024;

/** The policy of the cluster `default`. */
export const DEFAULT_POLICY: Policy = {
  cpuOvercommit: 4,
  memoryOvercommit: 1,
  diskOvercommit: 1,
  memoryReserveBytes: 512 * MIB,
  memoryReserveShare: 0.01,
  diskReserveShare: 0.02,
};

/** A storage pool as one host has it. */
export interface WorldPool {
  readonly name: string;
  /** active, or what it is instead, in words. */
  readonly state: string;
  readonly capacityBytes: number;
  readonly availableBytes: number;
  readonly stopPercent: number;
  readonly overcommit: number;
  /** Nothing is made in it: what is there needs no room. Absent: no. */
  readonly fixed?: boolean;
  /** What disks of ours in it take now, and may grow to: on all hosts of one that is shared. Asked when it is needed. */
  readonly held: () => number;
  readonly promised: () => number;
}

/** What disks in a pool may grow to. */
export interface PoolRequest {
  readonly poolId: string;
  readonly name: string;
  readonly bytes: number;
  readonly shared: boolean;
}

export interface WorldHost {
  readonly id: HostId;
  readonly name: string;
  readonly state: HostState;
  /** In words; shown when the state is the refusal. */
  readonly stateReason: string;
  readonly maintenance: boolean;
  /** libvirt there does not answer: what it could take is not known, and it could start nothing. */
  readonly libvirtAway?: boolean;
  /** Restored, and not accepted yet: nothing new goes there. */
  readonly reviewed?: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly facts: HostFacts | undefined;
  readonly bridges: readonly Bridge[];
  /** Domains that are not ours. */
  readonly foreign: ClaimSums;
  readonly claims: ClaimSums;
  /** What our volumes take in the pool now: thin growth up to here costs no free space. */
  readonly allocatedBytes: number;
  readonly diskFreeBytes: number;
  /** By their ids. Absent: none. */
  readonly pools?: ReadonlyMap<string, WorldPool>;
  /** Why a network, by its id, is not there; undefined: it is. Asked when it is needed. Absent: there are none. */
  readonly whyNoNetwork?: (networkId: string) => string | undefined;
  /** Any number that is always the same for this host: spreads equal choices. */
  readonly salt: number;
}

export interface World {
  readonly policy: Policy;
  readonly hosts: readonly WorldHost[];
}

export type CpuNeeds = { readonly model: string } | { readonly baseline: WorkedOutCpu };

export interface PlacementRequest {
  /** Spreads equal choices. */
  readonly vmId: VmId | undefined;
  /** Its claim, if it has one: that does not count against it. */
  readonly own: Claim | undefined;
  readonly vcpus: number;
  readonly memoryBytes: number;
  /** Its memory shall be made of large pages of this size. */
  readonly pageBytes?: number | undefined;
  /** What its disks in pool `local` may grow to. */
  readonly diskBytes: number;
  /** The same of other pools. Absent: none. */
  readonly pools?: readonly PoolRequest[];
  /** Who has the image, and the file that any other host has to receive first. */
  readonly image: { readonly hosts: ReadonlySet<HostId>; readonly fileBytes: number } | undefined;
  /** Of cards that are in no network. */
  readonly bridges: readonly string[];
  /** Absent: none. */
  readonly networks?: readonly { readonly id: string; readonly name: string }[];
  readonly capabilities: readonly string[];
  /** A named model that guests must be able to have there, or the cluster's baseline. */
  readonly cpu?: CpuNeeds | undefined;
  readonly hostLabels: readonly (readonly [key: string, value: string])[];
  /** Only this host will do. */
  readonly hostId: HostId | undefined;
  /** Only hosts with such labels will do. */
  readonly fits?: ((labels: Readonly<Record<string, string>>) => boolean) | undefined;
  /** Ports of its host that it listens on, and where each is taken, by the name of the VM that has it. */
  readonly ports?: readonly { readonly port: number; readonly taken: ReadonlyMap<HostId, string> }[];
}

export interface Refusal {
  readonly hostId: HostId;
  readonly host: string;
  readonly filter: FilterName;
  readonly detail: string;
}

export type FilterName =
  | 'state'
  | 'maintenance'
  | 'review'
  | 'check'
  | 'host'
  | 'label'
  | 'port'
  | 'bridge'
  | 'capability'
  | 'cpu-model'
  | 'cpu'
  | 'memory'
  | 'hugepages'
  | 'pool'
  | 'disk';
