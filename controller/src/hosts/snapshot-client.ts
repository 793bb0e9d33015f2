/** What is asked of a host about snapshots of its VMs. Types only; grpc-snapshot-client.ts asks. Capability `snapshots`. */
import type { SnapshotSeen } from '@berth/shared/model/snapshot.ts';

interface Domain {
  readonly uuid: string;
  readonly vmId: string;
}
export interface SnapshotOf extends Domain {
  readonly name: string;
}

/** @typeParam Op what tells of an operation; all are long. */
export interface SnapshotClient<Op> {
  list(domain: Domain): Promise<readonly SnapshotSeen[]>;
  /** @param v.running its guest's CPUs run now */
  create(operationId: string, v: SnapshotOf & { description: string; memory: boolean; running: boolean }): Promise<Op>;
  revert(operationId: string, v: SnapshotOf & { force: boolean }): Promise<Op>;
  /** @param v.running of one whose making is taken back: as when it was begun */
  remove(operationId: string, v: SnapshotOf & { running: boolean }): Promise<Op>;
}
