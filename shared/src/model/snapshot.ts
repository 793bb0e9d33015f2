/** Snapshots as hosts have them, and how they are looked at. What is durable of one is VmSnapshot in vm.ts. Plain data; no I/O. */

export type SnapshotPower = 'running' | 'paused' | 'stopped';

/** As its host has it. */
export interface SnapshotSeen {
  readonly name: string;
  readonly description: string;
  readonly createdAtMs: number;
  readonly power: SnapshotPower;
  readonly memory: boolean;
  /** Empty: none. */
  readonly parent: string;
  readonly current: boolean;
  readonly disks: readonly string[];
  /** In files of its own. */
  readonly external: boolean;
}

interface OfDisks {
  /** Targets. */
  readonly disks: readonly string[];
  readonly spec: { readonly disks: readonly { readonly target: string; readonly volumeId: string }[] };
}

/** Those that a volume of the VM is in. */
export const snapshotsWith = <S extends OfDisks>(snapshots: readonly S[] = [], volumeId: string): readonly S[] =>
  snapshots.filter((s) => s.spec.disks.some((d) => d.volumeId === volumeId && s.disks.includes(d.target)));
