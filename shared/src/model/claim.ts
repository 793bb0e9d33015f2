/** A claim: what a VM takes of a host, from the moment of placement until it is removed. Plain data. */
import type { HostId, VmId } from './ids.ts';

export interface Claim {
  readonly vmId: VmId;
  readonly hostId: HostId;
  readonly vcpus: number;
  readonly memoryBytes: number;
  /** What its thin disks may grow to. */
  readonly diskBytes: number;
  /** CPU and memory count only while it runs, starts or stops; disk always. */
  readonly powered: boolean;
}
