/** Snapshots of VMs: what people may do with them, and how they are told of. Starts jobs; asks a host only which it has. */
import {
  alreadyExists,
  badState,
  ClusterError,
  invalidArgument,
  isClusterError,
  notFound,
  unsupported,
} from '@berth/shared/errors/cluster-error.ts';
import { whyNot, type VmAction } from '@berth/shared/model/actions.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import type { SnapshotSeen } from '@berth/shared/model/snapshot.ts';
import type { Vm, VmDisk, VmSnapshot } from '@berth/shared/model/vm.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { JobDef } from '../jobs/engine/define.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { imageLocks } from '../jobs/images-needed.ts';
import { domainRef } from '../jobs/making.ts';
import { snapshotCreate } from '../jobs/snapshot-create.ts';
import { snapshotDelete } from '../jobs/snapshot-delete.ts';
import { snapshotRevert } from '../jobs/snapshot-revert.ts';
import { findSnapshot, withSnapshot } from '../jobs/snapshot-rows.ts';
import type { WorldView } from '../jobs/world.ts';
import { isOfBlocks } from '../jobs/world-pools.ts';
import type { State, Tx } from '../state/state.ts';
import { resolve } from './names.ts';
import { changesBetween } from './vm-changes.ts';
import { nameIn } from './vm-pools.ts';
import { viewVm, type VmView } from './vm-view.ts';
import { checkRoom } from './volume-moving.ts';

export interface SnapshotDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly world: WorldView;
}

export interface CreateSnapshot {
  readonly vm: string;
  /** Empty: the time. */
  readonly name: string;
  readonly description: string;
  readonly diskOnly: boolean;
}

export interface SnapshotView extends Omit<SnapshotSeen, 'external'> {
  readonly vm: string;
  /** ready, creating, deleting, missing, last seen. */
  readonly state: string;
  readonly consistency: string;
  readonly byHand: boolean;
  /** Of the machine of then, in words. */
  readonly differences: readonly string[];
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const MOST_DESCRIPTION = 1_000;
/** Each has its place in every disk's table, and its machine in the VM's row. */
const MOST_SNAPSHOTS = 100;

export class Snapshots {
  constructor(private readonly deps: SnapshotDeps) {}

  async create(r: CreateSnapshot, user: string): Promise<{ readonly view: SnapshotView; readonly jobId: JobId }> {
    const { state, clock } = this.deps;
    const nowMs = clock.now();
    const name = checkName(r.name || new Date(nowMs).toISOString().slice(0, 19).replaceAll(':', '.'));
    if (r.description.length > MOST_DESCRIPTION || /\p{Cc}/u.test(r.description))
      throw invalidArgument(`a description is one line of at most ${MOST_DESCRIPTION} characters`);
    const { vmId, jobId } = await state.update((tx) => {
      const view = this.#allow(r.vm, 'snapshot');
      const { vm } = view;
      if (findSnapshot(vm, name))
        throw alreadyExists(`vm ${vm.name} has a snapshot ${name} already. Delete it, or choose another name`);
      if ((vm.snapshots ?? []).length >= MOST_SNAPSHOTS)
        throw badState(
          `vm ${vm.name} has ${MOST_SNAPSHOTS} snapshots. Delete some first (berth vm snapshot list ${vm.name})`,
        );
      for (const d of vm.spec.disks) this.#refuseDisk(vm, d);
      const made = snapshotOf(view, { name, description: r.description, diskOnly: r.diskOnly, nowMs });
      this.#checkRoom(vm, made);
      tx.vms.put(withSnapshot(vm, made));
      return { vmId: vm.id, jobId: this.#start(tx, snapshotCreate, { vmId: vm.id, name }, vm, user) };
    });
    const vm = state.tables.vms.get(vmId)!;
    return { view: this.#shown(vm, findSnapshot(vm, name)!, undefined, false), jobId };
  }

  /** Oldest first. */
  async list(nameOrId: string): Promise<readonly SnapshotView[]> {
    const { vm } = this.#view(nameOrId);
    const seen = await this.#seen(vm);
    await this.deps.state.settled();
    const now = this.deps.state.tables.vms.get(vm.id) ?? vm;
    const rows = now.snapshots ?? [];
    const ours = rows.map((s) =>
      this.#shown(
        now,
        s,
        seen?.find((o) => o.name === s.name),
        seen !== undefined,
      ),
    );
    const others = (seen ?? []).filter((s) => rows.every((r) => r.name !== s.name));
    return [...ours, ...others.map((s) => byHand(now, s))].sort((a, b) => a.createdAtMs - b.createdAtMs);
  }

  async get(nameOrId: string, name: string): Promise<SnapshotView> {
    const all = await this.list(nameOrId);
    const found = all.find((s) => s.name === name);
    if (found) return found;
    throw notFound(`vm ${nameOrId} has no snapshot ${name.slice(0, 80)}. See: berth vm snapshot list ${nameOrId}`);
  }

  async revert(nameOrId: string, name: string, force: boolean, user: string): Promise<JobId> {
    this.#allow(nameOrId, force ? 'forceRevert' : 'revert');
    const found = await this.get(nameOrId, name);
    return this.deps.state.update((tx) => {
      const { vm } = this.#allow(nameOrId, force ? 'forceRevert' : 'revert');
      const s = findSnapshot(vm, name);
      if (s === undefined && found.memory)
        throw unsupported(
          `snapshot ${name} of vm ${vm.name} was made by hand and has memory: what its guest would run with is not known. ` +
            `Go back to it on its host (virsh snapshot-revert ${vm.name} ${name})`,
        );
      if (found.state === 'missing') throw gone(vm, name);
      insistDisks(vm, name, s);
      return this.#start(tx, snapshotRevert, { vmId: vm.id, name, force }, vm, user);
    });
  }

  async delete(nameOrId: string, name: string, user: string): Promise<JobId> {
    this.#allow(nameOrId, 'deleteSnapshot');
    await this.get(nameOrId, name);
    return this.deps.state.update((tx) => {
      const { vm } = this.#allow(nameOrId, 'deleteSnapshot');
      return this.#start(tx, snapshotDelete, { vmId: vm.id, name }, vm, user);
    });
  }

  #start<P>(tx: Tx, def: JobDef<P, never>, params: P, vm: Vm, user: string): JobId {
    const locks = [`vm/${vm.id}:exclusive` as const, ...imageLocks(vm.spec)];
    return this.deps.jobs.start(tx, def, params, { subject: vm.name, locks, user });
  }

  /** The VM as it is now. @throws BAD_STATE, HOST_UNREACHABLE, UNSUPPORTED */
  #allow(nameOrId: string, action: VmAction): VmView {
    const view = this.#view(nameOrId);
    const { vm, state, hostName } = view;
    const why = whyNot(action, { name: vm.name, state, host: hostName || undefined });
    if (why !== undefined) throw state === 'unknown' ? new ClusterError('HOST_UNREACHABLE', why) : badState(why);
    if (vm.hostId === undefined) throw badState(`vm ${vm.name} is on no host yet`);
    needCapability({ name: hostName }, this.deps.hosts.status(vm.hostId).facts, 'snapshots');
    return view;
  }

  #refuseDisk(vm: Vm, d: VmDisk): void {
    const what = `disk ${d.target} of vm ${vm.name}`;
    if (isOfBlocks(this.deps.state.tables, d.poolId))
      throw unsupported(`${what} lies in a pool of Ceph or LVM: snapshots are for qcow2 files`);
    if (d.options?.format === 'raw')
      throw unsupported(
        `${what} is raw, which cannot hold snapshots: convert it first (berth volume convert ${vm.name}/${d.target} --format qcow2)`,
      );
  }

  /** Memory is written into the first disk: where the pool is full then, all guests on it stand still. */
  #checkRoom(vm: Vm, { name, memory, spec }: VmSnapshot): void {
    if (!memory) return;
    const { world, state } = this.deps;
    const wanted = { sizeBytes: spec.memoryBytes, imageId: undefined, poolId: spec.disks[0]?.poolId };
    checkRoom({ name: `${name} of vm ${vm.name}`, ...wanted }, vm.hostId, { tables: state.tables, world }, 'snapshot');
  }

  /** Undefined: its host does not answer, or cannot tell. */
  async #seen(vm: Vm): Promise<readonly SnapshotSeen[] | undefined> {
    const { hosts } = this.deps;
    if (vm.hostId === undefined || vm.phase !== 'ready' || !hosts.view(vm.hostId).reachable) return undefined;
    if (!hosts.status(vm.hostId).facts?.capabilities.includes('snapshots')) return undefined;
    try {
      return await hosts.agent(vm.hostId).snapshots.list(domainRef(vm));
    } catch (e) {
      if (isClusterError(e)) return undefined;
      throw e;
    }
  }

  #shown(vm: Vm, s: VmSnapshot, seen: SnapshotSeen | undefined, known: boolean): SnapshotView {
    const { spec, phase, ...rest } = s;
    const { cdroms: _, hardware: __, ...plain } = vm.spec;
    const changes = changesBetween({ ...plain, ...spec }, vm.spec, nameIn(this.deps.state.tables));
    return {
      ...{ ...rest, vm: vm.name, byHand: false },
      parent: seen?.parent ?? '',
      current: seen?.current ?? false,
      state: phase !== 'ready' ? phase : !known ? 'last seen' : seen === undefined ? 'missing' : 'ready',
      differences: changes.map((c) => `${c.field} was ${c.before || 'not said'}, is ${c.after || 'not said'}`),
    };
  }

  #view(nameOrId: string): VmView {
    const { state, hosts, clock } = this.deps;
    return viewVm(resolve('vm', state.tables.vms, nameOrId), { tables: state.tables, hosts, nowMs: clock.now() });
  }
}

function checkName(name: string): string {
  if (NAME.test(name) && !name.includes('..')) return name;
  throw invalidArgument(
    `${JSON.stringify(name.slice(0, 80))} cannot be the name of a snapshot: use up to 63 letters, digits, dots, hyphens and ` +
      `underscores, with a letter or digit first (like before-upgrade)`,
  );
}

function snapshotOf(
  { vm, state }: VmView,
  w: { readonly name: string; readonly description: string; readonly diskOnly: boolean; readonly nowMs: number },
): VmSnapshot {
  const on = state === 'running' || state === 'paused';
  const memory = on && !w.diskOnly;
  const { vcpus, memoryBytes, disks, nics, cdroms, hardware } = vm.live ?? vm.spec;
  const written = vm.live ? disks.filter((d) => vm.spec.disks.some((x) => x.volumeId === d.volumeId)) : disks;
  return {
    ...{ name: w.name, description: w.description, createdAtMs: w.nowMs, phase: 'creating', memory, consistency: '' },
    power: memory ? (state === 'paused' ? 'paused' : 'running') : 'stopped',
    disks: (on ? written : vm.spec.disks).map((d) => d.target),
    spec: { vcpus, memoryBytes, disks, nics, ...(cdroms && { cdroms }), ...(hardware && { hardware }) },
  };
}

const gone = (vm: Vm, name: string): Error =>
  notFound(
    `libvirt on its host knows no snapshot ${name} of vm ${vm.name} any more: somebody deleted it there, or defined the vm anew. ` +
      `Delete it, and with it what its disks still hold: berth vm snapshot delete ${vm.name} ${name}`,
  );

/** Of each disk in it, the same volume under the same name. */
function insistDisks(vm: Vm, name: string, s: VmSnapshot | undefined): void {
  const lost = s?.spec.disks.find(
    (d) => s.disks.includes(d.target) && !vm.spec.disks.some((x) => x.volumeId === d.volumeId && x.target === d.target),
  );
  if (lost)
    throw badState(
      `disk ${lost.target} of snapshot ${name} is not a disk of vm ${vm.name} any more. Attach it again first`,
    );
}

const byHand = (vm: Vm, { external, ...s }: SnapshotSeen): SnapshotView => ({
  ...{ ...s, vm: vm.name, byHand: true, consistency: '', differences: [] },
  state: external ? 'external' : 'ready',
});
