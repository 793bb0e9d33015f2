/** Metrics of the machine and of its storage pools. Pure. */
import { label, type Exposition } from '@berth/shared/metrics/exposition.ts';
import { LOCAL_POOL, isOfDevices, type PoolSeen, type PoolType } from '@berth/shared/model/pool.ts';
import type { MachineCounters, NicCounters } from '../drivers/machine.ts';
import type { Reading } from '../watch/sampler.ts';
import type { AgentFamilies } from './families.ts';

type Out = Exposition<AgentFamilies>;

const MOST_POOLS = 64;

export function writeHost(to: Out, { machine, capacity }: Reading): void {
  to.add('berth_host_load1', machine.load1);
  to.add('berth_host_memory_used_bytes', machine.memoryUsedBytes);
  if (machine.more !== undefined) writeCounters(to, machine.more);
  const local = label('pool', LOCAL_POOL);
  to.add('berth_pool_up', 1, local);
  to.add('berth_pool_size_bytes', capacity.diskBytes, local);
  to.add('berth_pool_free_bytes', capacity.diskFreeBytes, local);
}

function writeCounters(to: Out, m: MachineCounters): void {
  to.add('berth_host_cpus', m.cpus);
  for (const [mode, seconds] of Object.entries(m.cpuSeconds ?? {}))
    to.add('berth_host_cpu_seconds_total', seconds, label('mode', mode));
  to.add('berth_host_load5', m.load5);
  to.add('berth_host_load15', m.load15);
  to.add('berth_host_memory_size_bytes', m.memoryBytes);
  to.add('berth_host_swap_size_bytes', m.swapBytes);
  to.add('berth_host_swap_used_bytes', m.swapUsedBytes);
  to.add('berth_host_disk_read_bytes_total', m.diskReadBytes);
  to.add('berth_host_disk_written_bytes_total', m.diskWriteBytes);
  to.add('berth_host_disk_reads_total', m.diskReads);
  to.add('berth_host_disk_writes_total', m.diskWrites);
  for (const nic of m.nics) writeNic(to, nic);
}

function writeNic(to: Out, n: NicCounters): void {
  const of = `${label('nic', n.name)},${label('kind', n.kind)}`;
  to.add('berth_host_network_receive_bytes_total', n.receiveBytes, of);
  to.add('berth_host_network_transmit_bytes_total', n.transmitBytes, of);
  to.add('berth_host_network_receive_packets_total', n.receivePackets, of);
  to.add('berth_host_network_transmit_packets_total', n.transmitPackets, of);
  to.add('berth_host_network_errors_total', n.errors, of);
  to.add('berth_host_network_drops_total', n.drops, of);
}

/** Two of one name (a foreign one may have any) would be one series twice: the first counts. */
export function writePools(to: Out, pools: readonly PoolSeen[]): void {
  const names = new Set<string>([LOCAL_POOL]);
  for (const p of pools) {
    if (names.has(p.name) || names.size >= MOST_POOLS) continue;
    names.add(p.name);
    const of = label('pool', p.name);
    to.add('berth_pool_up', p.state === 'active' ? 1 : 0, of);
    // the room of devices is always taken, and fills up by nobody's writing
    if (p.state !== 'active' || isOfDevices(p.type as PoolType)) continue;
    to.add('berth_pool_size_bytes', p.capacityBytes, of);
    to.add('berth_pool_free_bytes', p.availableBytes, of);
  }
}
