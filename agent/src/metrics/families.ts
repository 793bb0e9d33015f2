/** Every metric of the agent, with its labels and how many series it can come to: what METRICS.md is made from. Nothing is computed here. */
import type { Families, Family } from '@berth/shared/metrics/exposition.ts';
import { PROCESS_FAMILIES } from '@berth/shared/metrics/process.ts';

const of =
  (labels: readonly string[], bound: string) =>
  (type: Family['type'], help: string): Family => ({ type, help, labels, bound });
const one = of([], '1');
const perNic = of(['nic', 'kind'], 'cards of the host, at most 64');
const perPool = of(['pool'], 'pools of the host, at most 64');
const perVm = of(['vm'], 'VMs of the host');
const perDisk = of(['vm', 'disk'], 'disks of VMs, at most 32 of each');
const perVmNic = of(['vm', 'nic'], 'cards of VMs, at most 16 of each');

export const AGENT_FAMILIES = {
  ...PROCESS_FAMILIES,
  berth_agent_info: of(['version', 'host', 'host_id'], '1')('gauge', 'Which agent this is, of which host; always 1.'),
  berth_agent_watched: one('gauge', 'Controllers that watch this host: 0 means that none is connected.'),
  berth_agent_operations: of(['state'], '7')('gauge', 'Operations that the ledger knows, by their state.'),
  berth_agent_requests_total: of(['method', 'result'], 'at most 500')(
    'counter',
    'Calls of the controller that have been answered, by what became of them.',
  ),
  berth_agent_request_duration_seconds: of(['method'], 'at most 500, of 11 each')(
    'histogram',
    'How long it took to answer a call; streams are left out.',
  ),
  berth_agent_libvirt_up: one('gauge', 'Whether libvirt answered when it was asked for statistics last.'),
  berth_agent_libvirt_requests_total: of(['procedure', 'result'], 'at most 500')(
    'counter',
    'Procedures of libvirt that were called, by what became of them.',
  ),
  berth_agent_libvirt_request_duration_seconds: of(['procedure'], 'at most 500, of 11 each')(
    'histogram',
    'How long libvirt took to answer.',
  ),
  berth_agent_sample_age_seconds: one(
    'gauge',
    'How old the statistics of the VMs below are. They are read anew for each scrape, unless libvirt does not answer.',
  ),
  berth_agent_vms_silent: one('gauge', 'VMs that run and whose QEMU does not answer: they have no statistics.'),
  berth_agent_vms_omitted: one('gauge', 'VMs that are left out below, because the host has too many.'),

  berth_host_cpus: one('gauge', 'Processors (threads) of the host.'),
  berth_host_cpu_seconds_total: of(['mode'], '8')('counter', 'CPU time of all processors by what it was spent on.'),
  berth_host_load1: one('gauge', 'Load average over one minute.'),
  berth_host_load5: one('gauge', 'Load average over five minutes.'),
  berth_host_load15: one('gauge', 'Load average over fifteen minutes.'),
  berth_host_memory_size_bytes: one('gauge', 'Memory of the host.'),
  berth_host_memory_used_bytes: one('gauge', 'Memory that is not available to whoever wants some.'),
  berth_host_swap_size_bytes: one('gauge', 'Swap space of the host.'),
  berth_host_swap_used_bytes: one('gauge', 'Swap space in use.'),
  berth_host_disk_read_bytes_total: one('counter', 'Read from all disks of the host.'),
  berth_host_disk_written_bytes_total: one('counter', 'Written to all disks of the host.'),
  berth_host_disk_reads_total: one('counter', 'Reads from all disks of the host.'),
  berth_host_disk_writes_total: one('counter', 'Writes to all disks of the host.'),
  berth_host_network_receive_bytes_total: perNic('counter', 'Received by a network card or bridge of the host.'),
  berth_host_network_transmit_bytes_total: perNic('counter', 'Sent by a network card or bridge of the host.'),
  berth_host_network_receive_packets_total: perNic('counter', 'Packets received.'),
  berth_host_network_transmit_packets_total: perNic('counter', 'Packets sent.'),
  berth_host_network_errors_total: perNic('counter', 'Packets with errors, both ways.'),
  berth_host_network_drops_total: perNic('counter', 'Packets dropped, both ways.'),

  berth_pool_up: perPool('gauge', 'Whether the storage pool is active; `local` is the folder of the agent.'),
  berth_pool_size_bytes: perPool('gauge', 'How large the pool is.'),
  berth_pool_free_bytes: perPool('gauge', 'How much of it is free.'),

  berth_vm_info: of(['vm', 'vm_id', 'uuid'], 'VMs of the host')(
    'gauge',
    'A VM on this host; always 1. `vm_id` is empty for one that Berth did not make.',
  ),
  berth_vm_power: of(['vm', 'power'], 'VMs of the host')(
    'gauge',
    'What a VM does now; 1 for that power, and no other.',
  ),
  berth_vm_vcpus: perVm('gauge', 'vCPUs of the VM.'),
  berth_vm_memory_size_bytes: perVm('gauge', 'Memory that the VM was given at its start.'),
  berth_vm_cpu_seconds_total: perVm('counter', 'CPU time that the VM has used since its start, QEMU included.'),
  berth_vm_cpu_user_seconds_total: perVm('counter', 'Of that, in user mode: the guest itself where it has KVM.'),
  berth_vm_cpu_system_seconds_total: perVm('counter', "Of that, in the host's kernel."),
  berth_vm_vcpu_delay_seconds_total: perVm(
    'counter',
    'Time in which vCPUs were ready to run and no processor of the host was free: what the guest sees as stolen.',
  ),
  berth_vm_memory_resident_bytes: perVm('gauge', "Memory of the host that the VM's QEMU takes."),
  berth_vm_memory_balloon_bytes: perVm('gauge', 'Memory that the balloon leaves to the guest now.'),
  berth_vm_memory_guest_total_bytes: perVm(
    'gauge',
    "Memory as the guest's kernel counts it; absent where it does not tell.",
  ),
  berth_vm_memory_guest_usable_bytes: perVm(
    'gauge',
    'Memory that the guest could still use; absent where it does not tell.',
  ),
  berth_vm_disk_read_bytes_total: perDisk('counter', 'Read by the guest from a disk since its start.'),
  berth_vm_disk_written_bytes_total: perDisk('counter', 'Written by the guest to a disk since its start.'),
  berth_vm_disk_reads_total: perDisk('counter', 'Reads of the guest.'),
  berth_vm_disk_writes_total: perDisk('counter', 'Writes of the guest.'),
  berth_vm_disk_flushes_total: perDisk('counter', 'Flushes of the guest.'),
  berth_vm_disk_read_seconds_total: perDisk('counter', 'Time that reads took, added up.'),
  berth_vm_disk_write_seconds_total: perDisk('counter', 'Time that writes took, added up.'),
  berth_vm_disk_flush_seconds_total: perDisk('counter', 'Time that flushes took, added up.'),
  berth_vm_disk_size_bytes: perDisk('gauge', 'Size of the disk as the guest sees it.'),
  berth_vm_disk_allocated_bytes: perDisk('gauge', 'What the disk takes on the host.'),
  berth_vm_network_receive_bytes_total: perVmNic('counter', 'Received by the guest since its start.'),
  berth_vm_network_transmit_bytes_total: perVmNic('counter', 'Sent by the guest since its start.'),
  berth_vm_network_receive_packets_total: perVmNic('counter', 'Packets received by the guest.'),
  berth_vm_network_transmit_packets_total: perVmNic('counter', 'Packets sent by the guest.'),
  berth_vm_network_errors_total: perVmNic('counter', 'Packets with errors, both ways.'),
  berth_vm_network_drops_total: perVmNic('counter', 'Packets dropped, both ways.'),
} as const satisfies Families;

export type AgentFamilies = typeof AGENT_FAMILIES;
