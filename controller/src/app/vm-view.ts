/** A VM as people see it: spec, the one word for its state, why, where, which job, how busy. Pure reads. */
import type { ImageId, JobId, VmId } from '@berth/shared/model/ids.ts';
import type { GuestSeen } from '@berth/shared/model/guest.ts';
import type { Job } from '@berth/shared/model/job.ts';
import { vmState, type Vm, type VmObserved, type VmState } from '@berth/shared/model/vm.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { pendingOf, type VmChange } from './vm-changes.ts';
import { fillingsOf, type DiskFilling } from './vm-fillings.ts';
import { goneSince } from './differences.ts';
import type { VmStatistics } from '../hosts/figures.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import { fullPlace, nameIn, poolName } from './vm-pools.ts';

export interface VmView {
  readonly vm: Vm;
  readonly state: VmState;
  /** Why, where the state alone does not say it; else empty. */
  readonly reason: string;
  /** Empty before placement. */
  readonly hostName: string;
  /** Of each disk, in order; empty for a blank one. */
  readonly imageNames: readonly string[];
  /** Of its disks; empty: local. */
  readonly poolNames: readonly string[];
  /** Of each network card, in order; empty: only a bridge was named. */
  readonly networkNames: readonly string[];
  /** Of each disk, in order: what it was made as a copy of. */
  readonly copyNames: readonly (string | undefined)[];
  /** Of each CD-ROM drive, in order; empty for one without a medium. */
  readonly mediumNames: readonly string[];
  readonly jobId: JobId | undefined;
  readonly statistics: VmStatistics | undefined;
  readonly lastSeenAtMs: number | undefined;
  /** What its guest says of itself. */
  readonly guest: GuestSeen | undefined;
  /** What it runs without until its next start. */
  readonly pending: readonly VmChange[];
  /** Of each disk, in order: what of its image is not on its host yet. */
  readonly fillings: readonly (DiskFilling | undefined)[];
}

export interface Seen {
  readonly tables: Tables;
  readonly hosts: Hosts;
  readonly nowMs: number;
}

/** The job that works on a VM: at most one can hold it. */
export const jobOfVm = (tables: Tables, vmId: VmId): Job | undefined => tables.jobs.holders(`vm/${vmId}`)[0];

export function viewVm(vm: Vm, seen: Seen): VmView {
  const { tables, hosts } = seen;
  const job = jobOfVm(tables, vm.id);
  const observed = hosts.vm(vm.id);
  const state = vmState(vm, observed, job, vm.hostId && hosts.view(vm.hostId));
  const nameOf = nameIn(tables);
  const nameOfImage = ({ imageId }: { readonly imageId: ImageId | undefined }): string => nameOf(imageId);
  const running = state === 'running' || state === 'paused' || state === 'stopping';
  return {
    vm,
    state,
    reason: reasonOf(vm, state, seen),
    hostName: (vm.hostId && tables.hosts.get(vm.hostId)?.name) ?? '',
    imageNames: vm.spec.disks.map(nameOfImage),
    poolNames: vm.spec.disks.map((d) => poolName(tables, d.poolId)),
    networkNames: vm.spec.nics.map((n) => nameOf(n.networkId)),
    copyNames: vm.spec.disks.map((d) => d.copyOf && nameOf(d.copyOf)),
    mediumNames: (vm.spec.cdroms ?? []).map(nameOfImage),
    jobId: job?.id ?? vm.batchId,
    statistics: running ? hosts.vmStatistics(vm.id) : undefined,
    lastSeenAtMs: observed?.seenAtMs,
    guest: running ? hosts.guest(vm.id) : undefined,
    pending: isOff(state) ? [] : pendingOf(vm, nameOf),
    fillings: fillingsOf(vm, seen),
  };
}

/** What was pending at its last end is what it starts with next. A saved one goes on with what it had. */
const isOff = (state: VmState): boolean => ['stopped', 'crashed', 'missing', 'creating', 'deleting'].includes(state);

function silence(vm: Vm, seen: VmObserved | undefined, nowMs: number): string {
  if (seen?.silentSinceMs === undefined) return '';
  const age = formatAge(nowMs - seen.silentSinceMs);
  return `its QEMU does not answer for ${age}: force it off with berth vm stop ${vm.name} --force`;
}

/** Of one that runs. */
function troubleOf(vm: Vm, seen: VmObserved | undefined, guest: GuestSeen | undefined, nowMs: number): string {
  const silent = silence(vm, seen, nowMs);
  if (silent !== '' || !guest || guest.frozenAtMs === 0) return silent;
  return `its file systems are frozen for ${formatAge(nowMs - guest.frozenAtMs)}: berth vm thaw ${vm.name}`;
}

/** By whom, and the way out. libvirt says the same of a VM that somebody suspended on its host by hand. */
function whyPaused(vm: Vm, seen: VmObserved | undefined, at: Pick<Seen, 'tables' | 'hosts'>): string {
  const resume = `berth vm resume ${vm.name}`;
  if (seen?.power === 'suspended') return `its guest sleeps: wake it with ${resume}`;
  if (seen?.reason === 'user') return `suspended: go on with ${resume}`;
  if (seen?.reason === 'no-space')
    return `no space left in ${fullPlace(vm, at)}: it goes on by itself when there is room`;
  const filling = fillingsOf(vm, at).find((f) => f !== undefined);
  if (seen?.reason === 'io-error' && filling) return waitsFor(filling);
  if (seen?.reason === 'io-error') return `a disk failed: mend that, then ${resume}`;
  return seen?.reason ?? '';
}

/** It goes on by itself. */
export const waitsFor = ({ imageName, waiting, from }: DiskFilling): string =>
  `waits for image ${imageName}: ${waiting || `it comes from ${from}`}`;

function reasonOf(vm: Vm, state: VmState, { tables, hosts, nowMs }: Seen): string {
  const host = vm.hostId && tables.hosts.get(vm.hostId);
  if (!host) return '';
  const status = hosts.status(host.id);
  const seen = hosts.vm(vm.id);
  if (state === 'unknown' && status.state !== 'up' && status.state !== 'maintenance') {
    const away = `${host.name} ${status.state} for ${formatAge(nowMs - status.sinceMs)}`;
    if (seen === undefined || !seen.reason.startsWith('last seen')) return away;
    return `${seen.reason} ${formatAge(nowMs - seen.seenAtMs)} ago, ${away}`;
  }
  if (state === 'unknown') return `libvirt on ${host.name} does not answer`;
  if (state === 'running') return troubleOf(vm, seen, hosts.guest(vm.id), nowMs);
  if (state === 'missing')
    return `${goneSince(host, hosts.has(host.id), vm, nowMs)}: forget it with berth vm delete ${vm.name}`;
  if (state === 'saved') return `its memory is in a file on ${host.name}: go on with berth vm start ${vm.name}`;
  if (state === 'paused') return whyPaused(vm, seen, { tables, hosts });
  return state === 'crashed' ? (seen?.reason ?? '') : '';
}
