/** Volumes that stand alone: disks that no VM has. One that a VM has is a disk of its spec (vm.ts). Plain data; no I/O. */
import type { HostId, ImageId, PoolId, VolumeId } from './ids.ts';

export const VOLUME_FORMATS = ['qcow2', 'raw'] as const;
export type VolumeFormat = (typeof VOLUME_FORMATS)[number];

export const PREALLOCATIONS = ['off', 'metadata', 'falloc', 'full'] as const;
export type Preallocation = (typeof PREALLOCATIONS)[number];

export interface Volume {
  readonly id: VolumeId;
  readonly name: string;
  readonly state: 'creating' | 'ready' | 'deleting';
  /** Where it lies; undefined until a host was chosen. */
  readonly hostId: HostId | undefined;
  /** On that host. Absent: `local`. */
  readonly poolId?: PoolId | undefined;
  readonly sizeBytes: number;
  readonly format: VolumeFormat;
  /** Image below it, or undefined for one that holds all that it has. */
  readonly imageId: ImageId | undefined;
  /** Who may see and have it; one that a VM gave up keeps those of the VM. */
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAtMs: number;
}

/** As a disk of a VM is called among the volumes. */
export const diskName = (vm: string, target: string): string => `${vm}-${target}`;
