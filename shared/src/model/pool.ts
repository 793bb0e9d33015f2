/**
 * Storage pools: what people asked for, and what a host says of one. Plain data; no I/O. What each type needs is in
 * shared/src/pool/check.ts; how a pool looks in libvirt is the agent's.
 */
import type { HostId, PoolId } from './ids.ts';

/** The folder of the agent's own data: every host has it, and it needs no pool of libvirt's. */
export const LOCAL_POOL = 'local';

export const POOL_TYPES = [
  'dir',
  'fs',
  'netfs',
  'logical',
  'iscsi',
  'iscsi-direct',
  'scsi',
  'mpath',
  'rbd',
  'gluster',
] as const;
export type PoolType = (typeof POOL_TYPES)[number];

/** Where its storage is. What a type does not have is empty. */
export interface PoolSource {
  readonly type: PoolType;
  /** Where its volumes appear on hosts. */
  readonly targetPath: string;
  /** NAME or NAME:PORT of servers. */
  readonly hosts: readonly string[];
  /** Exported folder, folder in a volume of Gluster, IQN of an iSCSI target. */
  readonly path: string;
  /** Volume group, pool of Ceph, volume of Gluster. */
  readonly name: string;
  readonly devices: readonly string[];
  readonly format: string;
  readonly initiator: string;
  readonly adapter: string;
  readonly authUser: string;
}

/** Types in which volumes are files in a folder. */
export const hasFiles = (type: PoolType): boolean => type === 'dir' || type === 'fs' || type === 'netfs';
/** Types that give out volumes which are raw disks, without a file around them: nothing in them can be an overlay. */
export const holdsBlocks = (type: PoolType): boolean => type === 'rbd' || type === 'logical';
/** Types whose volumes are units of other storage (LUNs): they are there, and are given to VMs as they are. */
export const holdsUnits = (type: PoolType): boolean => type === 'iscsi' || type === 'scsi' || type === 'mpath';
/** Types in which Berth makes disks of VMs. The others are watched, and hold what others make in them. */
export const takesDisks = (type: PoolType): boolean => hasFiles(type) || holdsBlocks(type);
export const DISK_POOL_TYPES: readonly PoolType[] = POOL_TYPES.filter(takesDisks);

/** Types whose room is that of their devices, all of which are always taken: it fills up by nobody's writing. */
export const isOfDevices = (type: PoolType): boolean =>
  type === 'iscsi' || type === 'iscsi-direct' || type === 'scsi' || type === 'mpath';

/** Which hosts have it: all, those that are named, or those with labels. */
export interface PoolHosts {
  readonly all: boolean;
  readonly ids: readonly HostId[];
  /** As `berth host list -l` takes it; empty: none. */
  readonly selector: string;
}

/** What is durable about a pool. */
export interface Pool {
  readonly id: PoolId;
  readonly name: string;
  readonly state: 'creating' | 'ready' | 'deleting';
  readonly source: PoolSource;
  readonly shared: boolean;
  readonly hosts: PoolHosts;
  /** It shall be up. A person who stops it says otherwise. */
  readonly started: boolean;
  /** Is started when a host boots. */
  readonly autostart: boolean;
  /** Share of it, in percent, from which on it is alarmed, and from which on nothing more is placed there. */
  readonly warnPercent: number;
  readonly stopPercent: number;
  /** Growth of thin disks that may be promised per byte that is free or theirs already. */
  readonly overcommit: number;
  /** A host has put the mark of this pool into it: every other must find that. Of shared pools. */
  readonly marked: boolean;
  /** With which its servers are asked, Base64. Never shown, never told. */
  readonly secret?: string | undefined;
  readonly generation: number;
  readonly createdAtMs: number;
}

export const POOL_DEFAULTS = { warnPercent: 85, stopPercent: 95, overcommit: 1 } as const;

export type PoolState = 'active' | 'inactive' | 'silent' | 'failed';
export const POOL_STATES: readonly PoolState[] = ['active', 'inactive', 'silent', 'failed'];

/** A LUN. */
export interface PoolUnit {
  /** In its pool on this host. */
  readonly name: string;
  readonly sizeBytes: number;
  /** By which it is known on all hosts: what the storage itself says of it. */
  readonly key: string;
}

/** What a host says of one. */
export interface PoolSeen {
  /** Empty: not made by Berth. */
  readonly poolId: string;
  readonly name: string;
  readonly uuid: string;
  readonly type: string;
  readonly state: PoolState;
  /** Why it is not active. */
  readonly reason: string;
  readonly capacityBytes: number;
  readonly allocationBytes: number;
  readonly availableBytes: number;
  readonly volumesAllocatedBytes: number;
  readonly targetPath: string;
  readonly generation: number;
  readonly imageDigests: readonly string[];
  /** Absent: it has none, or its agent tells of none. */
  readonly units?: readonly PoolUnit[];
}

/** How full it is, in percent; 0 of what is not known. */
export const usedPercent = (s: Pick<PoolSeen, 'capacityBytes' | 'availableBytes'>): number =>
  s.capacityBytes <= 0 ? 0 : Math.max(0, Math.min(100, 100 * (1 - s.availableBytes / s.capacityBytes)));
