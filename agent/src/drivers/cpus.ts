/** CPUs of guests, as the host's hypervisor knows them. Types only. */
import type { CpuDefinition, HostCpu, WorkedOutCpu } from '@berth/shared/model/cpu.ts';

/** CPUs that guests can have here. @param domainType kvm or qemu */
export interface Cpus {
  /** What guests get as host-model. @throws BAD_STATE where libvirt does not tell */
  host(domainType: string): Promise<HostCpu>;
  /** What guests can have on hosts of all these CPUs. @throws INVALID_ARGUMENT: an unknown model, or nothing in common */
  baseline(cpus: readonly CpuDefinition[], domainType: string): Promise<WorkedOutCpu>;
}
