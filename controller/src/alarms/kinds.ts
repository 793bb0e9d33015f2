/**
 * The kinds of alarms: for each, the objects it is about, and a pure function that says of one object whether it is so now.
 * A new kind is one entry of a table below. When alarms are raised and cleared is watcher.ts's.
 */
import type { AlarmSeverity } from '@berth/shared/model/alarm.ts';
import type { Certificate } from '@berth/shared/model/certificate.ts';
import { lackingOf } from '@berth/shared/model/cpu.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Job } from '@berth/shared/model/job.ts';
import type { Pool } from '@berth/shared/model/pool.ts';
import { vmState, type Vm } from '@berth/shared/model/vm.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { localPool } from '../app/pool-hosts.ts';
import { fillingsOf } from '../app/vm-fillings.ts';
import { waitsFor } from '../app/vm-view.ts';
import type { Hosts, HostStatus } from '../hosts/hosts.ts';
import { baselineOf } from '../jobs/cpu-wanted.ts';
import { imageFetch } from '../jobs/image-fetch.ts';
import type { Tables } from '../state/state.ts';

export interface Space {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** What the kinds look at. */
export interface Look {
  readonly tables: Tables;
  readonly hosts: Pick<Hosts, 'status' | 'view' | 'vm' | 'guest'> & Partial<Pick<Hosts, 'operation'>>;
  /** Of the controller's own data directory; undefined when that could not be asked. */
  readonly ownDisk: Space | undefined;
  readonly dataDir: string;
  readonly nowMs: number;
  /** Running domains that say they are a VM and are not on the VM's own host, by the VM's id. */
  readonly strays: ReadonlyMap<string, readonly Host[]>;
}

export interface Finding {
  /** One sentence for people, with the object's name. */
  readonly message: string;
  readonly advice: string;
  /** Where it differs from the kind's own. */
  readonly severity?: AlarmSeverity;
  /** When it began; absent: when it was first seen. */
  readonly sinceMs?: number;
}

/** `unknown`: nothing can be said now (such as before a host has reported); an alarm stays as it is. */
export type Answer = Finding | 'unknown' | undefined;

export interface AlarmKind<O> {
  readonly kind: string;
  readonly severity: AlarmSeverity;
  /** It must have been so for that long: what passes by itself is no alarm. */
  readonly raiseAfterMs: number;
  /** @param raised whether it stands now, so that a threshold can have two sides. */
  readonly look: (object: O, world: Look, raised: boolean) => Answer;
}

const SHORT_MS = 5_000;
const LONG_MS = 120_000;

export const HOST_KINDS: readonly AlarmKind<Host>[] = [
  { kind: 'host-unreachable', severity: 'critical', raiseAfterMs: 10_000, look: unreachable },
  { kind: 'host-certificate-fault', severity: 'critical', raiseAfterMs: SHORT_MS, look: certificateFault },
  { kind: 'host-certificate-ending', severity: 'warning', raiseAfterMs: LONG_MS, look: certificateEnding },
  { kind: 'host-libvirt-away', severity: 'critical', raiseAfterMs: SHORT_MS, look: libvirtAway },
  { kind: 'host-pool-full', severity: 'warning', raiseAfterMs: SHORT_MS, look: poolFull },
  { kind: 'host-cpu-below-cluster', severity: 'warning', raiseAfterMs: SHORT_MS, look: cpuBelow },
  { kind: 'host-cleanup-overdue', severity: 'warning', raiseAfterMs: LONG_MS, look: cleanupOverdue },
];

export const VM_KINDS: readonly AlarmKind<Vm>[] = [
  { kind: 'vm-qemu-silent', severity: 'critical', raiseAfterMs: 0, look: qemuSilent },
  { kind: 'vm-frozen', severity: 'warning', raiseAfterMs: 0, look: frozen },
  { kind: 'vm-crashed', severity: 'warning', raiseAfterMs: SHORT_MS, look: crashed },
  { kind: 'vm-missing', severity: 'critical', raiseAfterMs: SHORT_MS, look: missing },
  { kind: 'vm-waits-for-image', severity: 'critical', raiseAfterMs: SHORT_MS, look: waitsForImage },
  { kind: 'vm-duplicate', severity: 'critical', raiseAfterMs: SHORT_MS, look: duplicate },
];

export const JOB_KINDS: readonly AlarmKind<Job>[] = [
  { kind: 'job-stuck', severity: 'critical', raiseAfterMs: 0, look: stuck },
  { kind: 'image-source-wrong', severity: 'warning', raiseAfterMs: 0, look: wrongSource },
];

export const CONTROLLER_KINDS: readonly AlarmKind<null>[] = [
  { kind: 'controller-disk-full', severity: 'warning', raiseAfterMs: SHORT_MS, look: ownDisk },
];

const isKnown = ({ state }: HostStatus): boolean => state === 'up' || state === 'maintenance';

function unreachable(host: Host, { hosts }: Look): Answer {
  const { state, reason, sinceMs } = hosts.status(host.id);
  if (state === 'connecting') return 'unknown';
  if (state !== 'unreachable') return undefined;
  const why = reason ? `: ${reason}` : '';
  return {
    message: `host ${host.name} is unreachable${why}`,
    advice: 'Look whether it has power, network and a running berth-agent; its VMs may still run',
    sinceMs,
  };
}

function certificateFault(host: Host, { hosts }: Look): Answer {
  const { state, reason, sinceMs } = hosts.status(host.id);
  if (state === 'connecting') return 'unknown';
  if (state !== 'certificate-fault') return undefined;
  return {
    message: `host ${host.name} is not trusted: ${reason}`,
    advice: `Compare the clocks, or enrol it again with a token of: berth host re-enroll ${host.name}`,
    sinceMs,
  };
}

/** They are renewed at two thirds of their life: half of what is left then was not enough. */
const lateAtMs = (c: Certificate): number => Math.ceil(c.notAfterMs - (c.notAfterMs - c.notBeforeMs) / 6);

function certificateEnding(host: Host, { tables, hosts, nowMs }: Look): Answer {
  const { state } = hosts.status(host.id);
  if (state === 'enrolling' || state === 'certificate-fault') return undefined;
  const ending = tables.certificates.byHost(host.id).filter((c) => c.state === 'active' && nowMs >= lateAtMs(c));
  const [first] = [...ending].sort((a, b) => a.notAfterMs - b.notAfterMs);
  if (first === undefined) return undefined;
  const left = first.notAfterMs - nowMs;
  const away = isKnown(hosts.status(host.id)) ? 'was not renewed' : `cannot be renewed while it is ${state}`;
  return {
    message:
      left > 0
        ? `the ${first.purpose} certificate of host ${host.name} ends in ${formatAge(left)}, and ${away}`
        : `the ${first.purpose} certificate of host ${host.name} ended ${formatAge(-left)} ago while it was ${state}`,
    advice: isKnown(hosts.status(host.id))
      ? `Look at what its agent says: berth event list --subject ${host.name}`
      : `Bring it back in time, or enrol it again then: berth host re-enroll ${host.name}`,
    sinceMs: lateAtMs(first),
  };
}

function cpuBelow(host: Host, { tables, hosts }: Look): Answer {
  const baseline = baselineOf(tables);
  if (baseline === undefined) return undefined;
  const { state, facts } = hosts.status(host.id);
  if (state === 'connecting' || facts === undefined) return 'unknown';
  if (facts.cpu === undefined)
    return {
      message: `host ${host.name} does not tell which CPU its guests can have, and the cluster has one (${baseline.model})`,
      advice: 'VMs are not placed there: upgrade its agent, or give the CPU up with berth cluster set --cpu none',
    };
  const lacking = lackingOf(facts.cpu, baseline);
  if (lacking.length === 0) return undefined;
  return {
    message: `host ${host.name} is below the cluster's CPU (${baseline.model}): its guests lack ${lacking.slice(0, 8).join(', ')}`,
    advice: 'VMs are not placed there: choose a lesser CPU with berth cluster set --cpu auto, or remove the host',
  };
}

function libvirtAway(host: Host, { hosts }: Look): Answer {
  const status = hosts.status(host.id);
  if (!isKnown(status)) return status.state === 'enrolling' ? undefined : 'unknown';
  if (status.complete.has('domains')) return undefined;
  return {
    message: `libvirt on host ${host.name} does not answer: its VMs are unknown, and none is placed there`,
    advice: 'Look at libvirtd on that host; running guests go on, and restarting libvirtd does not stop them',
  };
}

function poolFull(host: Host, { tables, hosts }: Look, raised: boolean): Answer {
  const status = hosts.status(host.id);
  const { statistics } = status;
  if (!isKnown(status) || statistics === undefined) return 'unknown';
  const space = { totalBytes: statistics.diskBytes, freeBytes: statistics.diskFreeBytes };
  const severity = fullness(space, raised, localPool(tables));
  if (severity === undefined) return undefined;
  return {
    severity,
    message: `pool local of host ${host.name} is nearly full: ${left(space)}`,
    advice: 'Delete VMs or images there, or give it more room: guests stop when they can not write',
  };
}

function cleanupOverdue(host: Host, { tables, hosts }: Look): Answer {
  const [first, ...others] = tables.debts.byHost(host.id);
  if (first === undefined) return undefined;
  if (hosts.status(host.id).state === 'unreachable') return 'unknown';
  const more = others.length > 0 ? `, and ${others.length} more` : '';
  return {
    message: `host ${host.name} keeps what should be gone: ${first.kind} ${first.target}${more}`,
    advice: `Berth goes on trying; why it fails: berth event list --subject ${host.name}`,
  };
}

function crashed(vm: Vm, { tables, hosts }: Look): Answer {
  if (vm.phase !== 'ready' || vm.desiredPower !== 'on') return undefined;
  const seen = hosts.vm(vm.id);
  if (seen === undefined || seen.power === 'unknown') return 'unknown';
  if (seen.power !== 'crashed' || tables.jobs.holders(`vm/${vm.id}`).length > 0) return undefined;
  return {
    message: `vm ${vm.name} crashed and does not run`,
    advice: `Start it again with: berth vm start ${vm.name}`,
  };
}

function qemuSilent(vm: Vm, { hosts }: Look): Answer {
  const seen = hosts.vm(vm.id);
  if (seen === undefined || seen.power === 'unknown') return vm.phase === 'ready' ? 'unknown' : undefined;
  if (seen.power !== 'running' || seen.silentSinceMs === undefined) return undefined;
  return {
    message: `vm ${vm.name} runs, but its QEMU does not answer`,
    advice: `Its guest may hang. Force it off with berth vm stop ${vm.name} --force, then start it again`,
    sinceMs: seen.silentSinceMs,
  };
}

/** A backup takes seconds to do what it needs a frozen guest for; and its host thaws it in time, unless it can not. */
const FROZEN_LONG_MS = 30_000;
const OVERDUE_MS = 15_000;

function frozen(vm: Vm, { hosts, nowMs }: Look): Answer {
  const seen = hosts.vm(vm.id);
  if (seen === undefined || seen.power === 'unknown') return vm.phase === 'ready' ? 'unknown' : undefined;
  const { frozenAtMs, thawAtMs } = hosts.guest(vm.id) ?? { frozenAtMs: 0, thawAtMs: 0 };
  const overdue = nowMs > thawAtMs + OVERDUE_MS;
  if (frozenAtMs === 0 || (nowMs - frozenAtMs < FROZEN_LONG_MS && !overdue)) return undefined;
  const wait = 'programs in it that write wait';
  return {
    message: overdue
      ? `the file systems of vm ${vm.name} are frozen, and its host can not thaw them: ${wait}`
      : `the file systems of vm ${vm.name} are frozen: ${wait}`,
    advice: overdue
      ? `Its guest may hang. Try berth vm thaw ${vm.name}; the way out is berth vm reset ${vm.name}`
      : `Its host thaws them by itself at the deadline that was given; at once: berth vm thaw ${vm.name}`,
    ...(overdue ? { severity: 'critical' as const } : {}),
    sinceMs: frozenAtMs,
  };
}

function waitsForImage(vm: Vm, { tables, hosts }: Look): Answer {
  const seen = hosts.vm(vm.id);
  if (seen === undefined || seen.power === 'unknown') return vm.phase === 'ready' ? 'unknown' : undefined;
  if (seen.power !== 'paused' || seen.reason !== 'io-error') return undefined;
  const filling = fillingsOf(vm, { tables, hosts: { operation: () => undefined, ...hosts } }).find(
    (f) => f !== undefined,
  );
  if (filling === undefined) return undefined;
  return {
    message: `vm ${vm.name} is paused: it ${waitsFor(filling)}`,
    advice: 'Bring a host back that has the image; the vm goes on by itself then',
  };
}

function missing(vm: Vm, { tables, hosts }: Look): Answer {
  const view = vm.hostId && hosts.view(vm.hostId);
  if (vm.phase !== 'ready' || !vm.hostId || tables.jobs.holders(`vm/${vm.id}`).length > 0) return undefined;
  const state = vmState(vm, hosts.vm(vm.id), undefined, view);
  if (state === 'unknown') return 'unknown';
  if (state !== 'missing') return undefined;
  const host = nameOf(vm.hostId, tables);
  return {
    message: `vm ${vm.name} is gone from host ${host}: libvirt there does not know it`,
    advice: `Look who removed it on ${host}; if it is not wanted any more: berth vm delete ${vm.name}`,
  };
}

function duplicate(vm: Vm, { tables, strays }: Look): Answer {
  const others = strays.get(vm.id);
  if (others === undefined || tables.jobs.holders(`vm/${vm.id}`).length > 0) return undefined;
  const names = others.map((h) => h.name).join(', ');
  const home = vm.hostId ? `lives on ${nameOf(vm.hostId, tables)}` : 'has no host';
  return {
    message: `vm ${vm.name} ${home}, but a domain that says it is this VM runs on ${names}`,
    advice: `Two copies may write to one disk: find out which is right, and stop the other on its host with virsh`,
  };
}

function stuck(job: Job): Answer {
  if (job.state !== 'stuck') return undefined;
  return {
    message: `job ${job.kind} ${job.subject} is stuck: ${job.error?.message.split('\n')[0] || 'its undo failed'}`,
    advice: `Try its undo again: berth job retry ${job.id}; or leave it as it is: berth job accept ${job.id}`,
  };
}

function wrongSource(job: Job, { tables, hosts }: Look): Answer {
  const wrong = job.kind === imageFetch.kind ? hosts.operation?.(`${job.id}.fetch`)?.turnedAway : undefined;
  if (wrong === undefined || !/something else than the image/.test(wrong.why)) return undefined;
  const host = nameOf(wrong.hostId as HostId, tables);
  return {
    message: `host ${host} ${wrong.why}: its copy of image ${job.subject} is damaged, and nothing is taken from it`,
    advice:
      `Have the disk of ${host} looked at; the image comes from another host that has it. The damaged copy goes with ` +
      `berth image prune ${job.subject} --host ${host}, when nothing there needs it`,
  };
}

function ownDisk(_controller: null, { ownDisk: space, dataDir }: Look, raised: boolean): Answer {
  if (space === undefined) return 'unknown';
  const severity = fullness(space, raised);
  if (severity === undefined) return undefined;
  return {
    severity,
    message: `the controller's disk is nearly full: ${left(space)} at ${dataDir}`,
    advice: 'Make room there: the controller stops when it can not write its database',
  };
}

const nameOf = (id: HostId, tables: Tables): string => tables.hosts.get(id)?.name ?? id;
const left = (s: Space): string => `${formatBytes(s.freeBytes)} of ${formatBytes(s.totalBytes)} free`;

type Thresholds = Pick<Pool, 'warnPercent' | 'stopPercent'>;
const USUAL: Thresholds = { warnPercent: 90, stopPercent: 97 };

/** Of what is in use: critical from the second threshold on, a warning from the first, which stands until it is 2 % less again. */
function fullness(
  { totalBytes, freeBytes }: Space,
  raised: boolean,
  { warnPercent, stopPercent }: Thresholds = USUAL,
): AlarmSeverity | undefined {
  if (totalBytes <= 0) return undefined;
  const used = 100 * (1 - freeBytes / totalBytes);
  if (used > stopPercent) return 'critical';
  return used > warnPercent - (raised ? 2 : 0) ? 'warning' : undefined;
}
