/**
 * Snapshots of domains, inside their qcow2 disks: one part of the hypervisor driver. A snapshot is what all its disks held at one
 * moment and, where it has some, the guest's memory. Which may be made, and of what, is decided in agent/src/domain. Errors as of
 * hypervisor.ts.
 */

export interface SnapshotSeen {
  readonly name: string;
  readonly description: string;
  readonly createdAtMs: number;
  /** What a revert leads to. */
  readonly power: 'running' | 'paused' | 'stopped';
  readonly memory: boolean;
  readonly parent: string | undefined;
  /** What the disks hold now has begun with it. */
  readonly current: boolean;
  /** Targets of the disks in it. */
  readonly disks: readonly string[];
  /** It is in files of its own: made by hand. */
  readonly external: boolean;
  /** The definition of then, without secrets. */
  readonly domainXml: string;
}

export interface SnapshotWanted {
  readonly name: string;
  readonly description: string;
  /** Targets of disks that go into it. */
  readonly disks: readonly string[];
  /** Of those that do not: read-only ones. */
  readonly others: readonly string[];
}

export interface SnapshotVerbs {
  /** Oldest first. NOT_FOUND */
  list(uuid: string): Promise<readonly SnapshotSeen[]>;
  /**
   * Of a domain that is off, its disks; of one that is on, also its memory, and it stands still until all is written, then is as it
   * was. Whole, or not there. RESOURCE_BUSY: libvirt still works on the domain.
   */
  create(uuid: string, wanted: SnapshotWanted): Promise<void>;
  /** Of a domain that runs, its disks alone at one moment; it goes on. `taken` is called when that moment is over. */
  createLive(uuid: string, wanted: SnapshotWanted, taken: () => Promise<void>): Promise<void>;
  /** A domain that is on loses its power first. NOT_FOUND */
  revert(uuid: string, name: string): Promise<void>;
  /** Absent is fine. */
  remove(uuid: string, name: string): Promise<void>;
  /** What disks hold of a snapshot that no list knows: it was cut short. None is fine. */
  clear(uuid: string, wanted: SnapshotWanted): Promise<void>;
}
