/**
 * The guest-disk driver: the files of a guest that is off, changed in its disk from outside. Real one: drivers/linux/guestfs over
 * guestfish in a confined process; simulated one: drivers/sim. What to write is decided by customize/, from what is read here.
 * Errors are ClusterErrors: UNSUPPORTED (not installed, no guest that is understood), BAD_STATE (a broken file system), IN_USE,
 * DISK_FULL, CANCELLED, DEADLINE_EXCEEDED.
 */
import type { LongWork, VolumeFormat } from './disks.ts';

/** A path in the guest, or several: `*` stands for part of a name. */
export interface Look {
  readonly path: string;
  /** Its text is wanted, not only whether it is there. */
  readonly text?: boolean;
}

export type GuestEntry =
  /** `text` is undefined when it was not asked for, is larger than 256 KiB, or is none. */
  | { readonly kind: 'file'; readonly text: string | undefined }
  | { readonly kind: 'dir' }
  /** `text`: of the file that it leads to, as above. */
  | { readonly kind: 'link'; readonly target: string; readonly text: string | undefined }
  /** A pipe, a socket or a device. */
  | { readonly kind: 'other' };

export type GuestEntries = ReadonlyMap<string, GuestEntry>;

export type Change =
  /** The folders above it are made. A regular file keeps its owner and mode; whatever else is there is replaced. */
  | {
      readonly kind: 'write';
      readonly path: string;
      readonly text: string;
      readonly mode?: number;
      readonly owner?: Owner;
    }
  /** With all that is in it, unless `*` stands in its name. Absent is fine. */
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'folder'; readonly path: string; readonly mode: number; readonly owner?: Owner };

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface GuestDisk {
  readonly volumeId: string;
  readonly path: string;
  readonly format: VolumeFormat;
  readonly sizeBytes: number;
  /** It lies in a pool, where the agent changes nothing itself; over the file of this image, if any. */
  readonly inPool?: { readonly backing: string | undefined };
}

export interface Edit {
  readonly looks: readonly Look[];
  /** Pure: from what was found to what is written. What it throws ends the edit, and nothing is changed. */
  plan(found: GuestEntries): readonly Change[];
  /** Asked before the first byte of the volume changes. @throws when the volume must not change any more. */
  allowed(): Promise<void>;
  /** Guests have KVM on this host. */
  readonly accelerated: boolean;
}

export interface GuestDisks {
  /** Why it can't be done on this host, in words that say what to install; undefined when it can. */
  whyNot(): Promise<string | undefined>;
  /**
   * All of the changes or none of them: they are made beside the volume and put into it when they are whole. A call that was cut
   * short after that is finished by its repetition, or by `drop`.
   */
  edit(disk: GuestDisk, edit: Edit, work: LongWork): Promise<void>;
  /** Ends an edit that was given up: forgotten where the volume is untouched, finished where it is not. */
  drop(disk: GuestDisk): Promise<void>;
  /** Volumes that have got a part of their changes: they must not be used before the edit is finished. */
  unfinished(): Promise<readonly string[]>;
}
