/** What any process of ours tells of itself, under the names that Prometheus' own libraries use where they have one. */
import { performance } from 'node:perf_hooks';
import type { Exposition, Families, Family } from './exposition.ts';

const one = (type: Family['type'], help: string): Family => ({ type, help, labels: [], bound: '1' });

export const PROCESS_FAMILIES = {
  process_cpu_seconds_total: one('counter', 'CPU time that the process has used, user and system.'),
  process_resident_memory_bytes: one('gauge', 'Memory of the process that is in RAM.'),
  process_start_time_seconds: one('gauge', 'When the process began, in seconds since 1970.'),
  process_open_fds: one('gauge', 'Files and sockets that the process has open.'),
  nodejs_heap_size_used_bytes: one('gauge', 'Memory that JavaScript objects take.'),
  nodejs_external_memory_bytes: one('gauge', 'Memory outside of the heap that JavaScript objects hold: buffers.'),
  berth_event_loop_busy_seconds_total: one(
    'counter',
    'Time in which the event loop did something: a rate near 1 means that the process cannot keep up.',
  ),
} as const satisfies Families;

/** @param openFds undefined: not known. */
export function writeProcess<F extends typeof PROCESS_FAMILIES>(
  to: Exposition<F>,
  at: { readonly nowMs: number; readonly openFds: number | undefined },
): void {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, external } = process.memoryUsage();
  to.add('process_cpu_seconds_total', (user + system) / 1e6);
  to.add('process_resident_memory_bytes', rss);
  to.add('process_start_time_seconds', Math.round(at.nowMs / 1000 - process.uptime()));
  if (at.openFds !== undefined) to.add('process_open_fds', at.openFds);
  to.add('nodejs_heap_size_used_bytes', heapUsed);
  to.add('nodejs_external_memory_bytes', external);
  to.add('berth_event_loop_busy_seconds_total', performance.eventLoopUtilization().active / 1000);
}
