/** Tells jobs that something which they may wait for has happened on a host. Never an input: steps look for themselves. */
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import type { Hosts, HostsEvent } from '../hosts/hosts.ts';
import type { State } from '../state/state.ts';
import type { Jobs } from './engine/jobs.ts';
import { imageFetch } from './image-fetch.ts';

/** @returns a function that ends it. */
export function nudgeJobs(from: { readonly hosts: Hosts; readonly state: State; readonly jobs: Jobs }): () => void {
  return from.hosts.subscribe((e) => nudge(from.hosts, from.state, from.jobs, e));
}

function nudge(hosts: Hosts, state: State, jobs: Jobs, e: HostsEvent): void {
  if (e.type === 'operation') return nudgeOperation(hosts, jobs, e.operationId);
  if (e.type === 'vm') return nudgeVm(state, jobs, e.vmId);
  if (e.type === 'host') nudgeHost(state, jobs, e.hostId);
}

function nudgeOperation(hosts: Hosts, jobs: Jobs, operationId: string): void {
  const op = hosts.operation(operationId);
  if (op && op.totalBytes > 0) jobs.progress(operationId, op.doneBytes, op.totalBytes);
  if (op === undefined || op.state !== 'running' || op.needsSource) jobs.nudgeByOperation(operationId);
}

function nudgeVm(state: State, jobs: Jobs, vmId: VmId): void {
  for (const job of state.tables.jobs.holders(`vm/${vmId}`)) jobs.nudge(job.id);
}

/** Jobs that wait for an answer of this host, and fetches that it may serve. */
function nudgeHost(state: State, jobs: Jobs, hostId: HostId): void {
  jobs.nudgeHost(hostId);
  for (const job of state.tables.jobs.open()) if (job.kind === imageFetch.kind) jobs.nudge(job.id);
}
