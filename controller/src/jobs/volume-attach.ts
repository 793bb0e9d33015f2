/**
 * Jobs volume.attach and volume.detach: a volume that stands alone becomes a disk of a VM, and the other way round; under a guest
 * that runs, at once. The VM's row says what it shall be since the job was started, and what to go back to (`before`). The host
 * gives the volume to a VM before that VM's definition may name it, so that at no moment two may.
 */
import type { HostId, VmId, VolumeId } from '@berth/shared/model/ids.ts';
import type { Vm, VmDisk, VmSpec } from '@berth/shared/model/vm.ts';
import type { Volume } from '@berth/shared/model/volume.ts';
import type { OperationView } from '../hosts/agent-client.ts';
import type { JobDeps } from './deps.ts';
import {
  defineJob,
  Wait,
  type LocalStep,
  type RemoteContext,
  type RemoteStep,
  type StepContext,
} from './engine/define.ts';
import { domainRef, getVm } from './making.ts';
import { insist, settle } from './operate.ts';
import { hostOfVm } from './vm-start.ts';
import { claimFor, isOn } from './vm-update.ts';
import { getVolume } from './volume-create.ts';
import { domainWanted } from './wanted.ts';

export interface AttachParams {
  readonly volumeId: VolumeId;
  readonly vmId: VmId;
  readonly target: string;
}

export interface DetachParams extends AttachParams {
  /** What it shall be called. */
  readonly name: string;
}

interface Placed {
  readonly place: { readonly hostId: HostId; readonly host: string; readonly on: boolean };
}
type Context = StepContext<AttachParams, Placed, JobDeps>;
type Remote = RemoteContext<AttachParams, Placed, JobDeps>;
type Step = RemoteStep<AttachParams, Placed, JobDeps, null>;

/** A guest that boots lets go of nothing yet; one that runs does within seconds. */
const LIVE_MS = 180_000;

const agentOf = (c: Context): ReturnType<JobDeps['hosts']['agent']> => c.deps.hosts.agent(c.outs.place.hostId);
const vmOf = (c: Context): Vm => getVm(c.tables, c.params.vmId);
const asBefore = (vm: Vm): Vm => ({ ...vm, ...vm.before });

const begin: LocalStep<AttachParams, object, JobDeps, null> = {
  run({ tables, params }) {
    getVm(tables, params.vmId);
    return null;
  },
  undo({ tx, tables, params }) {
    const { before, live: _, ...rest } = getVm(tables, params.vmId);
    if (before) tx.vms.put({ ...rest, ...before });
  },
};

const place: LocalStep<AttachParams, object, JobDeps, Placed['place']> = {
  run(c) {
    const vm = getVm(c.tables, c.params.vmId);
    const hostId = hostOfVm(vm);
    return { hostId, host: c.tables.hosts.get(hostId)?.name ?? hostId, on: isOn(c, vm) };
  },
  describe: (out) => out.host,
};

/** Twice is once, both ways. */
const assigning = (owners: (c: Context) => { from: string; to: string }): Step => ({
  host: (c) => c.outs.place.hostId,
  async run(c) {
    const { volumeId } = c.params;
    const op = await settle(c, agentOf(c).volumeData.assign(c.opId, { volumeId, ...owners(c) }), 'changing its owner');
    return Wait.is(op) ? op : null;
  },
  async undo(c) {
    const { from, to } = owners(c);
    const back = (id: string) => agentOf(c).volumeData.assign(id, { volumeId: c.params.volumeId, from: to, to: from });
    const op = await insist(c, c.undoOpId, back, 'changing its owner back');
    return Wait.is(op) ? op : undefined;
  },
  debts: () => [],
});

const defining: Step = {
  host: (c) => c.outs.place.hostId,
  async run(c) {
    const op = await settle(c, agentOf(c).ensureDomain(c.opId, domainWanted(c.tables, vmOf(c))), 'defining');
    return Wait.is(op) ? op : null;
  },
  async undo(c) {
    const was = domainWanted(c.tables, asBefore(vmOf(c)));
    const op = await insist(c, c.undoOpId, (id) => agentOf(c).ensureDomain(id, was), 'defining it as it was');
    return Wait.is(op) ? op : undefined;
  },
  // a start defines it anew
  debts: () => [],
};

const attach = (c: Remote, opId: string, vm: Vm): Promise<OperationView> =>
  agentOf(c).volumeData.attachDevice(opId, domainWanted(c.tables, vm), c.params.target);
const detach = (c: Remote, opId: string, vm: Vm): Promise<OperationView> =>
  agentOf(c).volumeData.detachDevice(opId, domainRef(vm), c.params.target);

/** @param how what is asked of the guest, and what takes it back. */
const living = (how: {
  readonly run: typeof attach;
  readonly undo: typeof attach;
  readonly after: (vm: Vm) => Vm;
}): Step => ({
  host: (c) => c.outs.place.hostId,
  deadlineMs: LIVE_MS,
  async run(c) {
    if (!c.outs.place.on) return null;
    const op = await settle(c, how.run(c, c.opId, vmOf(c)), 'changing the guest');
    return Wait.is(op) ? op : null;
  },
  async undo(c) {
    if (!c.outs.place.on || !isOn(c, vmOf(c))) return undefined;
    const op = await insist(c, c.undoOpId, (id) => how.undo(c, id, how.after(vmOf(c))), 'changing the guest back');
    return Wait.is(op) ? op : undefined;
  },
  debts: () => [],
});

const without = (spec: VmSpec, id: VolumeId): VmSpec => ({
  ...spec,
  disks: spec.disks.filter((d) => d.volumeId !== id),
});

/** What it runs with is known of a VM whose definition and guest differ; the disk comes and goes in both. */
function settled(vm: Vm, change: (spec: VmSpec) => VmSpec): Vm {
  const { before: _, ...rest } = vm;
  return vm.live ? { ...rest, live: change(vm.live) } : rest;
}

export const volumeAttach = defineJob<AttachParams, JobDeps>('volume.attach', 1)
  .local('begin', begin)
  .local('place', place)
  .remote(
    'assign',
    assigning((c) => ({ from: '', to: c.params.vmId })),
  )
  .remote('define', defining)
  .remote('live', living({ run: attach, undo: detach, after: asBefore }))
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const { volumeId } = params;
      const { name } = getVolume(tables, volumeId);
      const vm = getVm(tables, params.vmId);
      const disk = vm.spec.disks.find((d) => d.volumeId === volumeId) as VmDisk;
      const after = settled(vm, (spec) => ({ ...spec, disks: [...without(spec, volumeId).disks, disk] }));
      tx.volumes.delete(volumeId);
      tx.vms.put(after);
      const claim = tables.claims.get(vm.id);
      if (claim) tx.claims.put(claimFor(after, claim.hostId, claim.powered));
      const message = `volume ${name} is ${params.target} of vm ${vm.name} on ${outs.place.host} now`;
      tx.event({ type: 'volume.attached', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId });
      return null;
    },
  })
  .build();

/** The guest lets go first: it may refuse. */
export const volumeDetach = defineJob<DetachParams, JobDeps>('volume.detach', 1)
  .local('begin', begin)
  .local('place', place)
  .remote('live', living({ run: detach, undo: attach, after: asBefore }))
  .remote('define', defining)
  .remote(
    'assign',
    assigning((c) => ({ from: c.params.vmId, to: '' })),
  )
  .local('record', {
    run({ tx, tables, params, outs, jobId, nowMs }) {
      const { volumeId, target, name } = params;
      const vm = getVm(tables, params.vmId);
      const was = (vm.before?.spec ?? vm.spec).disks.find((d) => d.volumeId === volumeId) as VmDisk;
      const after = settled(vm, (spec) => without(spec, volumeId));
      tx.vms.put(after);
      tx.volumes.put(aloneOf(was, { name, vm, hostId: outs.place.hostId, nowMs }));
      const claim = tables.claims.get(vm.id);
      if (claim) tx.claims.put(claimFor(after, claim.hostId, claim.powered));
      const message = `disk ${target} of vm ${vm.name} stands alone now, as volume ${name} on ${outs.place.host}`;
      tx.event({ type: 'volume.detached', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId });
      return null;
    },
  })
  .build();

/** It keeps the labels of its VM: who could not see that, does not see what was in it. */
const aloneOf = (d: VmDisk, o: { name: string; vm: Vm; hostId: HostId; nowMs: number }): Volume => ({
  ...{ id: d.volumeId, name: o.name, state: 'ready', hostId: o.hostId, sizeBytes: d.sizeBytes, imageId: d.imageId },
  ...(d.poolId && { poolId: d.poolId }),
  ...(d.unit && { unit: d.unit }),
  ...{ format: d.options?.format ?? 'qcow2', labels: o.vm.spec.labels, createdAtMs: o.nowMs },
});
