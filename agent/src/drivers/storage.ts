/**
 * The storage driver: pools and their volumes, as libvirt has them, by libvirt's uuids. Whose they are, and what they shall be,
 * is agent/src/pool's. A pool whose server does not answer holds up nothing but what is asked of itself: a call that passes its
 * deadline is BAD_STATE, and so is every other of that pool, at once, until it is answered after all.
 * Other errors: NOT_FOUND, ALREADY_EXISTS, HYPERVISOR_UNAVAILABLE, DISK_FULL, INTERNAL with libvirt's own words.
 */
import type { Writable } from 'node:stream';
import type { Piece } from '@berth/shared/disk/pieces.ts';

export interface StorageRef {
  readonly uuid: string;
  readonly name: string;
}

export interface StoragePoolSeen extends StorageRef {
  readonly type: string;
  readonly targetPath: string;
  readonly active: boolean;
  readonly capacityBytes: number;
  readonly allocationBytes: number;
  readonly availableBytes: number;
}

export interface StorageVolumeSeen {
  readonly name: string;
  /** Of a LUN: its serial number, or else its path. */
  readonly key?: string;
  readonly capacityBytes: number;
  readonly allocationBytes: number;
}

/** What a volume shall be. */
export interface StorageVolumeWanted {
  readonly name: string;
  readonly format: 'qcow2' | 'raw';
  readonly capacityBytes: number;
  /** A qcow2 file below it. */
  readonly backingPath?: string | undefined;
  /** Everybody may read it. Default: root alone, until libvirt gives it to QEMU. */
  readonly readable?: boolean;
  /** All of its room is taken at once. */
  readonly allocated?: boolean;
}

export interface StorageFile {
  readonly fileBytes: number;
  readonly allocatedBytes: number;
  pieces(signal: AbortSignal): AsyncIterable<Piece>;
}

export interface Storage {
  /** Foreign ones too. */
  list(): Promise<readonly StorageRef[]>;
  /** Undefined when there is none. */
  look(uuid: string): Promise<StoragePoolSeen | undefined>;
  /** Defines or redefines it. */
  define(uuid: string, xml: string): Promise<void>;
  /** Makes the folder where it is to appear; nothing is formatted. */
  build(uuid: string): Promise<void>;
  start(uuid: string): Promise<void>;
  /** Stopped or absent is fine. */
  stop(uuid: string): Promise<void>;
  /** Absent is fine. */
  undefine(uuid: string): Promise<void>;
  /** Looks anew at what is in it and how much room there is. One that can't be looked at becomes inactive. */
  refresh(uuid: string): Promise<void>;
  listVolumes(uuid: string): Promise<readonly StorageVolumeSeen[]>;
  hasVolume(uuid: string, name: string): Promise<boolean>;
  /** One of them, as it is now. @throws NOT_FOUND */
  lookAtVolume(uuid: string, name: string): Promise<StorageVolumeSeen>;
  /** Where its device or file is on this host. NOT_FOUND */
  pathOf(uuid: string, name: string): Promise<string>;
  /** What of this host has a device open, in words: a mount, or a device that is made of it. */
  deviceUser(path: string): Promise<string | undefined>;
  /** ALREADY_EXISTS, also where another host made it. */
  createVolume(uuid: string, wanted: StorageVolumeWanted): Promise<void>;
  /** Larger only. Not of LVM: `extendDevice`. */
  resizeVolume(uuid: string, name: string, capacityBytes: number): Promise<void>;
  /** A logical volume, by the path of its device: larger only, and what is in the new room is left from whoever had it. DISK_FULL */
  extendDevice(device: string, sizeBytes: number): Promise<void>;
  /** Absent is fine. */
  removeVolume(uuid: string, name: string): Promise<void>;
  /**
   * Of files: `name` is what `by` was, and on disk as that, and what it was before, if anything, is gone; at once, so that there is always
   * one of the two. NOT_FOUND: there is no `by`
   */
  replaceVolume(uuid: string, name: string, by: string): Promise<void>;
  /** Overwrites all of it with zeros, for as long as that takes; libvirt goes on when nobody waits any more. */
  wipeVolume(uuid: string, name: string): Promise<void>;
  /** Writes so many bytes over a volume, from a position on; ended in order when libvirt has it all. @param at default: its beginning */
  upload(uuid: string, name: string, bytes: number, at?: number): Promise<Writable>;
  /** All that a volume holds, from its beginning. NOT_FOUND */
  download(uuid: string, name: string): Promise<AsyncIterable<Uint8Array>>;
  /** What was written of a file of so many bytes survives a power cut, and its name does. INTERNAL when it has not got all. */
  sync(path: string, bytes: number): Promise<void>;
  /** Writes over an empty volume; zeros become holes. It is on disk when this resolves. */
  write(uuid: string, name: string, pieces: AsyncIterable<Piece>, bytes: number): Promise<void>;
  /** A volume as it is, from its beginning. NOT_FOUND */
  read(uuid: string, name: string): Promise<StorageFile>;
  /** Keeps a secret for pools, under this uuid. @param usage ceph or iscsi. */
  setSecret(secret: StorageRef & { readonly usage: 'ceph' | 'iscsi'; readonly value: Uint8Array }): Promise<void>;
  /** NOT_FOUND. */
  secretValue(uuid: string): Promise<Uint8Array>;
  removeSecret(uuid: string): Promise<void>;
  /** For how long a pool does not answer; undefined: it does. */
  silentMs(uuid: string): number | undefined;
  close(): Promise<void>;
}
