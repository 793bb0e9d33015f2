/** Volumes that stand alone: disks that no VM has. One that a VM has is a disk of its spec (vm.ts). Plain data; no I/O. */
import type { HostId, ImageId, PoolId, VolumeId } from './ids.ts';

export const VOLUME_FORMATS = ['qcow2', 'raw'] as const;
export type VolumeFormat = (typeof VOLUME_FORMATS)[number];

/** What other programs read. A volume can be kept so, but VMs run with none of these. */
export const FOREIGN_FORMATS = ['vmdk', 'vdi', 'vhdx'] as const;
export type KeptFormat = VolumeFormat | (typeof FOREIGN_FORMATS)[number];
export const KEPT_FORMATS = [...VOLUME_FORMATS, ...FOREIGN_FORMATS] as const;

export const isForeign = (format: string | undefined): boolean => FOREIGN_FORMATS.some((f) => f === format);

export const PREALLOCATIONS = ['off', 'metadata', 'falloc', 'full'] as const;
export type Preallocation = (typeof PREALLOCATIONS)[number];

/** A LUN that a volume is: nothing of it is made or removed. */
export interface VolumeUnit {
  /** In its pool. */
  readonly name: string;
  /** By which it is known on all hosts. */
  readonly key: string;
}

export interface Volume {
  readonly id: VolumeId;
  readonly name: string;
  readonly state: 'creating' | 'ready' | 'deleting';
  /** Where it lies; undefined until a host was chosen. */
  readonly hostId: HostId | undefined;
  /** On that host. Absent: `local`. */
  readonly poolId?: PoolId | undefined;
  /** Where it is being moved to: room is kept for it there. */
  readonly coming?: { readonly hostId: HostId; readonly poolId?: PoolId | undefined } | undefined;
  /** Of its pool, which it is. */
  readonly unit?: VolumeUnit | undefined;
  readonly sizeBytes: number;
  readonly format: KeptFormat;
  /** Image below it, or undefined for one that holds all that it has. */
  readonly imageId: ImageId | undefined;
  /** Who may see and have it; one that a VM gave up keeps those of the VM. */
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAtMs: number;
}

/** As a disk of a VM is called among the volumes. */
export const diskName = (vm: string, target: string): string => `${vm}-${target}`;
