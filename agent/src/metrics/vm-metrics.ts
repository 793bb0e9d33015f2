/** Metrics of VMs, from what libvirt said of them. Pure. Bounded: VMs are left out whole when there would be too many series. */
import { label, type Exposition } from '@berth/shared/metrics/exposition.ts';
import type { DomainDisk, DomainNic, DomainSeen, DomainStats } from '../drivers/hypervisor.ts';
import type { AgentFamilies } from './families.ts';

type Out = Exposition<AgentFamilies>;

/** Of all VMs of a host together: 1.8 MB of text. A host with 30 VMs of two disks and a card each has 1,100. */
export const MOST_VM_SERIES = 20_000;
const MOST_DISKS = 32;
const MOST_NICS = 16;

export interface SeenVm {
  readonly seen: DomainSeen;
  /** Empty for one that Berth did not make. */
  readonly vmId: string;
  /** Undefined while it is off, or does not answer. */
  readonly stats: DomainStats | undefined;
}

/** Those that are on come first. @returns how many were left out. */
export function writeVms(to: Out, vms: readonly SeenVm[], most = MOST_VM_SERIES): number {
  const end = to.size + most;
  const inOrder = [...vms].sort((a, b) => Number(b.stats !== undefined) - Number(a.stats !== undefined));
  let written = 0;
  for (const vm of inOrder) {
    if (to.size + seriesOf(vm) > end) continue;
    writeVm(to, vm);
    written++;
  }
  return vms.length - written;
}

/** At least as many as it will have. */
const seriesOf = ({ stats }: SeenVm): number =>
  stats === undefined
    ? 4
    : 14 +
      10 * Math.min(MOST_DISKS, stats.more?.disks?.length ?? 0) +
      6 * Math.min(MOST_NICS, stats.more?.nics?.length ?? 0);

function writeVm(to: Out, { seen, vmId, stats }: SeenVm): void {
  const vm = label('vm', seen.name);
  to.add('berth_vm_info', 1, `${vm},${label('vm_id', vmId)},${label('uuid', seen.uuid)}`);
  to.add('berth_vm_power', 1, `${vm},${label('power', seen.power)}`);
  to.add('berth_vm_vcpus', seen.vcpus, vm);
  to.add('berth_vm_memory_size_bytes', seen.memoryBytes, vm);
  if (stats === undefined) return;
  writeCpu(to, stats, vm);
  writeMemory(to, stats, vm);
  for (const d of (stats.more?.disks ?? []).slice(0, MOST_DISKS)) writeDisk(to, d, `${vm},${label('disk', d.target)}`);
  for (const n of (stats.more?.nics ?? []).slice(0, MOST_NICS)) writeNic(to, n, `${vm},${label('nic', n.name)}`);
}

function writeCpu(to: Out, { cpuTimeNs, more }: DomainStats, vm: string): void {
  to.add('berth_vm_cpu_seconds_total', Number(cpuTimeNs) / 1e9, vm);
  if (more?.cpuUserNs !== undefined) to.add('berth_vm_cpu_user_seconds_total', more.cpuUserNs / 1e9, vm);
  if (more?.cpuSystemNs !== undefined) to.add('berth_vm_cpu_system_seconds_total', more.cpuSystemNs / 1e9, vm);
  if (more?.vcpuDelayNs !== undefined) to.add('berth_vm_vcpu_delay_seconds_total', more.vcpuDelayNs / 1e9, vm);
}

function writeMemory(to: Out, { memoryUsedBytes, more }: DomainStats, vm: string): void {
  if (memoryUsedBytes !== undefined) to.add('berth_vm_memory_resident_bytes', memoryUsedBytes, vm);
  if (more === undefined) return;
  if (more.balloonBytes > 0) to.add('berth_vm_memory_balloon_bytes', more.balloonBytes, vm);
  if (more.guestTotalBytes === 0) return;
  to.add('berth_vm_memory_guest_total_bytes', more.guestTotalBytes, vm);
  to.add('berth_vm_memory_guest_usable_bytes', more.guestUsableBytes, vm);
}

function writeDisk(to: Out, d: DomainDisk, of: string): void {
  to.add('berth_vm_disk_read_bytes_total', d.readBytes, of);
  to.add('berth_vm_disk_written_bytes_total', d.writeBytes, of);
  to.add('berth_vm_disk_reads_total', d.reads, of);
  to.add('berth_vm_disk_writes_total', d.writes, of);
  to.add('berth_vm_disk_flushes_total', d.flushes, of);
  to.add('berth_vm_disk_read_seconds_total', d.readNs / 1e9, of);
  to.add('berth_vm_disk_write_seconds_total', d.writeNs / 1e9, of);
  to.add('berth_vm_disk_flush_seconds_total', d.flushNs / 1e9, of);
  if (d.capacityBytes === 0) return;
  to.add('berth_vm_disk_size_bytes', d.capacityBytes, of);
  to.add('berth_vm_disk_allocated_bytes', d.allocationBytes, of);
}

function writeNic(to: Out, n: DomainNic, of: string): void {
  to.add('berth_vm_network_receive_bytes_total', n.receiveBytes, of);
  to.add('berth_vm_network_transmit_bytes_total', n.transmitBytes, of);
  to.add('berth_vm_network_receive_packets_total', n.receivePackets, of);
  to.add('berth_vm_network_transmit_packets_total', n.transmitPackets, of);
  to.add('berth_vm_network_errors_total', n.errors, of);
  to.add('berth_vm_network_drops_total', n.drops, of);
}
