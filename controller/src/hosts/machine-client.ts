/** What is asked of the machine under an agent, to look at it. Types only; grpc-machine-client.ts asks. */
import type { HostCheck } from '@berth/shared/model/host.ts';
import type { HostTuning } from '@berth/shared/model/tuning.ts';
import type { Inventory } from '@berth/shared/model/inventory.ts';

export interface MachineChecked {
  readonly checks: readonly HostCheck[];
  /** What its clock said when it answered. */
  readonly clockMs: number;
}

export interface MachineClient {
  /** Capability `host.check`. @param names of other hosts, to be known there. */
  check(names: readonly string[]): Promise<MachineChecked>;
  /** Capability `host.hardware`. */
  inventory(): Promise<Inventory>;
  /** Capability `host.tuning`. */
  tuning(): Promise<HostTuning>;
}
