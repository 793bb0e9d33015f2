/** Every metric of the controller, with its labels and how many series it can come to: what METRICS.md is made from. Nothing is computed here. */
import type { Families, Family } from '@berth/shared/metrics/exposition.ts';
import { PROCESS_FAMILIES } from '@berth/shared/metrics/process.ts';

const of =
  (labels: readonly string[], bound: string) =>
  (type: Family['type'], help: string): Family => ({ type, help, labels, bound });
const one = of([], '1');
const perHost = of(['host'], 'hosts, at most 5,000');
const perMethod = of(['method'], 'at most 500, of 11 each');
const perKind = of(['kind'], 'kinds of jobs, about 35');

export const CONTROLLER_FAMILIES = {
  ...PROCESS_FAMILIES,
  berth_controller_info: of(['version', 'installation'], '1')('gauge', 'Which controller this is; always 1.'),
  berth_controller_event_loop_lag_seconds: of([], '11')(
    'histogram',
    'How much too late a timer came that is set once a second: how long whoever asks has to wait before anything is done.',
  ),
  berth_controller_requests_total: of(['method', 'result'], 'at most 500')(
    'counter',
    'Calls of the API that have ended, over gRPC and HTTPS, by what became of them.',
  ),
  berth_controller_request_duration_seconds: perMethod(
    'histogram',
    'How long it took to answer a call; streams are left out.',
  ),
  berth_controller_requests: one('gauge', 'Calls of the API that are being answered, streams included.'),
  berth_controller_agent_requests_total: of(['method', 'result'], 'at most 500')(
    'counter',
    'Calls to agents, by what became of them.',
  ),
  berth_controller_agent_request_duration_seconds: perMethod('histogram', 'How long agents took to answer.'),
  berth_controller_agent_requests: one('gauge', 'Calls to agents that wait for an answer.'),
  berth_controller_revisions_total: one('counter', 'Changes of the inventory since the installation was made.'),
  berth_database_commit_duration_seconds: of([], '11')(
    'histogram',
    'How long commits of the database took, their fsync included. Everything that changes something waits for one.',
  ),
  berth_database_commit_updates_total: one('counter', 'Updates that were committed: many share one commit.'),
  berth_database_updates_pending: one('gauge', 'Updates that wait for the next commit.'),
  berth_jobs: of(['kind', 'state'], 'kinds of jobs, of 4 each')('gauge', 'Jobs that have not ended.'),
  berth_jobs_ended_total: of(['kind', 'result'], 'kinds of jobs, of 3 each')(
    'counter',
    'Jobs that ended since the controller was started.',
  ),
  berth_job_duration_seconds: perKind('histogram', 'How long jobs took from their start to their end, waits included.'),
  berth_transfers: perKind('gauge', 'Jobs under way that move the bytes of images and volumes.'),
  berth_transferred_bytes_total: perKind('counter', 'What such jobs have moved, as hosts told of it.'),
  berth_placements_total: of(['result'], '2')(
    'counter',
    'Times a host was sought for a VM or a volume: placed or refused.',
  ),
  berth_placement_refusals_total: of(['reason'], 'reasons, about 15')(
    'counter',
    'Hosts that would not do, by the first reason, each time that none did.',
  ),
  berth_placement_duration_seconds: of([], '11')('histogram', 'How long it took to choose a host.'),
  berth_alarms: of(['kind', 'severity'], 'kinds of alarms, about 20')(
    'gauge',
    'What is wrong now; see berth alarm list.',
  ),
  berth_hosts: of(['state'], '6')('gauge', 'Hosts by their state.'),
  berth_vms: of(['state'], '12')('gauge', 'VMs by their state, as people see it.'),
  berth_images: one('gauge', 'Images.'),
  berth_host_up: perHost(
    'gauge',
    'Whether the host can be reached: also while it is in maintenance. Absent until it has enrolled.',
  ),
  berth_host_maintenance: perHost('gauge', 'Whether somebody has put the host into maintenance.'),
  berth_host_last_seen_timestamp_seconds: perHost('gauge', 'When the host was heard of last.'),
  berth_host_certificate_expiry_timestamp_seconds: perHost(
    'gauge',
    'When the certificate of its agent expires that is in service. It renews itself long before.',
  ),
  berth_host_vms: perHost('gauge', 'VMs that live on the host, running or not.'),
  berth_host_vcpus_claimed: perHost('gauge', 'vCPUs of the VMs there that are on.'),
  berth_host_memory_claimed_bytes: perHost('gauge', 'Memory that VMs there that are on were promised.'),
  berth_host_disk_claimed_bytes: perHost('gauge', 'What disks there in pool `local` may grow to.'),
} as const satisfies Families;

export type ControllerFamilies = typeof CONTROLLER_FAMILIES;
