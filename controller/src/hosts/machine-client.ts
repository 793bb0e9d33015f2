/** What is asked of the machine under an agent, to look at it. Types only; grpc-machine-client.ts asks. */
import type { CpuDefinition, WorkedOutCpu } from '@berth/shared/model/cpu.ts';
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
  /** Capability `cpu.baseline`. @throws INVALID_ARGUMENT: an unknown model, or nothing in common */
  baselineCpu(cpus: readonly CpuDefinition[]): Promise<WorkedOutCpu>;
  /** Capability `host.tuning`. */
  tuning(): Promise<HostTuning>;
}
