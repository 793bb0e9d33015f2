/** What people may do with volumes: checks, writes intent, starts jobs. Talks to no host; the jobs do. */
import {
  alreadyExists,
  badState,
  ClusterError,
  invalidArgument,
  unsupported,
} from '@berth/shared/errors/cluster-error.ts';
import { checkLabels } from '@berth/shared/labels/labels.ts';
import type { Labels } from '@berth/shared/labels/selector.ts';
import { whyNot } from '@berth/shared/model/actions.ts';
import { newId, type HostId, type JobId, type PoolId } from '@berth/shared/model/ids.ts';
import { LOCAL_POOL } from '@berth/shared/model/pool.ts';
import type { Vm, VmState } from '@berth/shared/model/vm.ts';
import { isForeign, VOLUME_FORMATS, type Volume } from '@berth/shared/model/volume.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { JobDef } from '../jobs/engine/define.ts';
import type { Jobs, LockName } from '../jobs/engine/jobs.ts';
import { noCapacity } from '../jobs/refused.ts';
import { volumeAttach, volumeDetach } from '../jobs/volume-attach.ts';
import { runnable, volumeCreate } from '../jobs/volume-create.ts';
import { volumeDelete } from '../jobs/volume-delete.ts';
import { volumeMove } from '../jobs/volume-move.ts';
import { volumeTransfer } from '../jobs/volume-transfer.ts';
import { volumeResize } from '../jobs/volume-resize.ts';
import { volumeRewrite, volumeWipe } from '../jobs/volume-rewrite.ts';
import type { WhichVolume } from '../jobs/volume-where.ts';
import { volumeRequest, type WorldView } from '../jobs/world.ts';
import { isOfBlocks } from '../jobs/world-pools.ts';
import type { State, Tx } from '../state/state.ts';
import { relabel, type LabelChange } from './labels.ts';
import { checkName, resolve } from './names.ts';
import { pageByName, type Page, type PageQuery } from './pages.ts';
import { usableImage } from './usable-image.ts';
import { diskSize } from './vm-drives.ts';
import { viewVm } from './vm-view.ts';
import {
  insistNotBooted,
  takesHardware,
  withoutVolume,
  withVolume,
  type AttachVolume,
  type DetachVolume,
} from './volume-attaching.ts';
import { insistNoSnapshots } from './volume-snapshots.ts';
import { adoptVolume } from './volume-adoption.ts';
import { blankPool, checkRoom, moveWanted, type MoveVolume } from './volume-moving.ts';
import { resolveVolume, volumesNamed, type FoundVolume } from './volume-names.ts';
import { optionsOf } from './volume-options.ts';
import { formatWanted, inFiles, insistMayShrink, insistOff, type InPools } from './volume-rewriting.ts';
import { unitVolume } from './volume-units.ts';
import { viewVolume, type VolumeView } from './volume-view.ts';

export interface VolumeDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly world: WorldView;
}

export interface CreateVolume {
  readonly name: string;
  /** 0: the image's. */
  readonly sizeBytes: number;
  /** Empty: qcow2. */
  readonly format: string;
  /** Empty: off. */
  readonly preallocation: string;
  /** 0: 64 KiB. */
  readonly clusterBytes: number;
  readonly lazyRefcounts: boolean;
  /** Empty: whichever has room. */
  readonly host: string;
  /** Empty: `local`. */
  readonly pool: string;
  /** Empty: blank. */
  readonly image: string;
  /** Of its pool, which it becomes. Absent or empty: it is made. */
  readonly unit?: string;
  readonly labels: Labels;
}

export interface VolumeAnswer {
  readonly view: VolumeView;
  /** Undefined: there was nothing to do. */
  readonly jobId: JobId | undefined;
}

export interface ListVolumes extends PageQuery {
  /** Name or id; empty: all. */
  readonly host: string;
  /** Name or id; absent or empty: all. */
  readonly pool?: string;
  /** Without those of VMs. */
  readonly alone: boolean;
}

/** Where a page of volumes ends: among those that stand alone, or among VMs. */
const PART = /^([av])(.*)$/;

export class Volumes {
  constructor(private readonly deps: VolumeDeps) {}

  async create(r: CreateVolume, user: string): Promise<VolumeAnswer> {
    const { state, jobs } = this.deps;
    const made = await state.update((tx) => {
      const { volume, hostId } = r.unit ? this.#ofUnit(r, r.unit) : this.#placed(r);
      const { preallocation, clusterBytes } = optionsOf(r, volume);
      tx.volumes.put({ ...volume, hostId });
      const locks: LockName[] = [`volume/${volume.id}:exclusive`];
      if (volume.poolId) locks.push(`pool/${volume.poolId}:shared`);
      if (volume.imageId) locks.push(`image/${volume.imageId}:shared`);
      const params = { volumeId: volume.id, hostId, preallocation, clusterBytes, lazyRefcounts: r.lazyRefcounts };
      return { volume, jobId: jobs.start(tx, volumeCreate, params, { subject: volume.name, locks, user }) };
    });
    return this.#answer(made.volume.id, made.jobId);
  }

  async get(nameOrId: string): Promise<VolumeView> {
    const view = this.#view(resolveVolume(this.deps.state.tables, nameOrId));
    await this.deps.state.settled();
    return view;
  }

  /** Those that stand alone first, then those of VMs, each in the order of names. @param keep only these. */
  async list(query: ListVolumes, keep: (labels: Labels) => boolean): Promise<Page<VolumeView>> {
    const { tables } = this.deps.state;
    const hostId = query.host === '' ? undefined : resolve('host', tables.hosts, query.host).id;
    const inPool = this.#inPool(query.pool);
    const there = (v: { readonly hostId: HostId | undefined }): boolean => hostId === undefined || v.hostId === hostId;
    const [, part = 'a', pageToken = ''] = PART.exec(query.pageToken) ?? [];
    const { pageSize } = query;
    await this.deps.state.settled();
    if (part === 'a') {
      const page = pageByName(tables.volumes, { pageSize, pageToken }, (v) => there(v) && inPool(v) && keep(v.labels));
      const items = page.items.map((volume) => this.#view({ volume }));
      const next = page.nextPageToken === '' ? (query.alone ? '' : 'v') : `a${page.nextPageToken}`;
      return { items, nextPageToken: next };
    }
    const page = pageByName(tables.vms, { pageSize, pageToken }, (vm) => there(vm) && keep(vm.spec.labels));
    const items = page.items.flatMap((vm) => vm.spec.disks.filter(inPool).map((disk) => this.#view({ vm, disk })));
    return { items, nextPageToken: page.nextPageToken === '' ? '' : `v${page.nextPageToken}` };
  }

  #inPool(nameOrId = ''): (v: { readonly poolId?: PoolId | undefined }) => boolean {
    if (nameOrId === '') return () => true;
    const id = nameOrId === LOCAL_POOL ? undefined : resolve('pool', this.deps.state.tables.pools, nameOrId).id;
    return (v) => v.poolId === id;
  }

  delete(nameOrId: string, user: string): Promise<VolumeAnswer> {
    return this.#act(nameOrId, (tx, found) => {
      if (found.vm)
        throw new ClusterError(
          'IN_USE',
          `volume ${nameOrId} is disk ${found.disk.target} of vm ${found.vm.name}. It goes with its vm (berth vm delete ${found.vm.name}), or alone once it is detached (berth volume detach ${found.vm.name}/${found.disk.target})`,
        );
      return this.#start(tx, volumeDelete, { volumeId: found.volume.id }, found, user);
    });
  }

  async resize(
    nameOrId: string,
    { sizeBytes, shrink }: { readonly sizeBytes: number; readonly shrink: boolean },
    user: string,
  ): Promise<VolumeAnswer> {
    const wanted = diskSize(sizeBytes || -1, undefined);
    return this.#act(nameOrId, (tx, found) => {
      const { sizeBytes: now, name, id: volumeId, hostId } = this.#view(found);
      if (wanted === now) return undefined;
      if (found.volume) runnable(found.volume);
      if (found.vm) insistNoSnapshots(found.vm, found.disk);
      if ((found.vm ? found.disk : found.volume).unit)
        throw unsupported(`volume ${name} is a unit of its pool: its storage makes it larger, not Berth`);
      if (wanted < now && !shrink)
        throw invalidArgument(
          `volume ${name} has ${formatBytes(now)}: to make it smaller, and only if nothing is cut off, say so with --shrink`,
        );
      if (wanted < now) insistMayShrink(name, found, this.deps.state.tables, wanted);
      if (wanted < now) this.#allowFiles(found);
      if (wanted > now) this.#checkRoom(found, hostId, wanted - now);
      const vmId = found.vm && { vmId: found.vm.id };
      return this.#start(tx, volumeResize, { volumeId, ...vmId, sizeBytes: wanted, shrink }, found, user);
    });
  }

  /** Undefined job: it has that format. */
  async convert(nameOrId: string, format: string, user: string): Promise<VolumeAnswer> {
    const { tables } = this.deps.state;
    const wanted = formatWanted(format, resolveVolume(tables, nameOrId), tables);
    const convert = (tx: Tx, found: FoundVolume, which: WhichVolume) => {
      const { format: is, hostId, hostName: name } = this.#view(found);
      if (is === wanted) return undefined;
      if (hostId && isForeign(wanted)) needCapability({ name }, this.deps.hosts.status(hostId).facts, 'volume.foreign');
      if (found.vm) insistNoSnapshots(found.vm, found.disk);
      return this.#start(tx, volumeRewrite, { ...which, format: wanted }, found, user);
    };
    return this.#actOff(nameOrId, convert, { blocks: true });
  }

  sparsify(nameOrId: string, user: string): Promise<VolumeAnswer> {
    const sparsify = (tx: Tx, found: FoundVolume, which: WhichVolume) => {
      if (found.vm) insistNoSnapshots(found.vm, found.disk);
      const format = (found.vm ? found.disk.options?.format : found.volume.format) ?? 'qcow2';
      return this.#start(tx, volumeRewrite, { ...which, format }, found, user);
    };
    return this.#actOff(nameOrId, sparsify, { blocks: false });
  }

  wipe(nameOrId: string, user: string): Promise<VolumeAnswer> {
    const wipe = (tx: Tx, found: FoundVolume, which: WhichVolume) => {
      if (found.volume) runnable(found.volume);
      if (found.vm) insistNoSnapshots(found.vm, found.disk);
      return this.#start(tx, volumeWipe, which, found, user);
    };
    return this.#actOff(nameOrId, wipe, { blocks: true, unfilled: true });
  }

  /** Undefined job: it lies there. */
  move(nameOrId: string, r: MoveVolume, user: string): Promise<VolumeAnswer> {
    const { state, hosts, clock, world, jobs } = this.deps;
    return this.#act(nameOrId, (tx, found) => {
      const move = moveWanted(found, r, { tables: state.tables, hosts, world, nowMs: clock.now() });
      if (move === undefined) return undefined;
      if (found.vm) insistNoSnapshots(found.vm, found.disk);
      const { id, name: subject } = this.#view(found);
      const locks: LockName[] = [`volume/${id}:exclusive`, ...move.locks];
      // other disks of the same VM may move at the same time
      if (found.vm) locks.push(`vm/${found.vm.id}:shared`);
      if (move.rewrite) return this.#start(tx, volumeRewrite, move.rewrite, found, user);
      if (move.transfer) return jobs.start(tx, volumeTransfer, move.transfer, { subject, locks, user });
      return jobs.start(tx, volumeMove, move.params, { subject, locks, user });
    });
  }

  attach(nameOrId: string, r: AttachVolume, user: string): Promise<VolumeAnswer> {
    return this.#act(nameOrId, (tx, found) => {
      const { tables } = this.deps.state;
      const vm = resolve('vm', tables.vms, r.vm);
      const wanted = withVolume(tables, found, vm, r);
      this.#allowDevices(wanted.vm);
      tx.vms.put(wanted.vm);
      const params = { volumeId: wanted.disk.volumeId, vmId: vm.id, target: wanted.disk.target };
      const locks: LockName[] = [`volume/${params.volumeId}:exclusive`, `vm/${vm.id}:exclusive`];
      return this.deps.jobs.start(tx, volumeAttach, params, { subject: this.#view(found).name, locks, user });
    });
  }

  detach(nameOrId: string, r: DetachVolume, user: string): Promise<VolumeAnswer> {
    return this.#act(nameOrId, (tx, found) => {
      if (!found.vm) throw badState(`volume ${nameOrId} stands alone: there is nothing to detach it from`);
      const { vm, disk } = found;
      insistNoSnapshots(vm, disk);
      if (!r.force) insistNotBooted(vm, disk, this.#stateOf(vm));
      const wanted = withoutVolume(this.deps.state.tables, vm, disk, r.name);
      this.#allowDevices(wanted.vm);
      tx.vms.put(wanted.vm);
      const params = { volumeId: disk.volumeId, vmId: vm.id, target: disk.target, name: wanted.name };
      return this.#start(tx, volumeDetach, params, found, user);
    });
  }

  /** @param may throws unless the caller may have a volume with these labels. */
  async label(nameOrId: string, change: LabelChange, may: (labels: Labels) => void): Promise<VolumeView> {
    const { state } = this.deps;
    const { id } = await state.update((tx) => {
      const { volume: before, vm } = resolveVolume(state.tables, nameOrId);
      if (vm)
        throw badState(`volume ${nameOrId} has the labels of vm ${vm.name}: berth vm label ${vm.name} changes those`);
      const labels = relabel('a volume', before.labels, change);
      may(labels);
      tx.volumes.put({ ...before, labels });
      return before;
    });
    return this.#view(resolveVolume(state.tables, id));
  }

  adopt(id: string, name: string, user: string): Promise<Volume> {
    return adoptVolume(this.deps, id, name, user);
  }

  #placed(r: CreateVolume): { readonly volume: Volume; readonly hostId: HostId } {
    const only = r.host === '' ? undefined : resolve('host', this.deps.state.tables.hosts, r.host).id;
    const volume = this.#planned(r);
    const hostId = this.#choose(volume, only);
    const name = this.deps.state.tables.hosts.get(hostId)?.name ?? hostId;
    if (isOfBlocks(this.deps.state.tables, volume.poolId))
      needCapability({ name }, this.deps.hosts.status(hostId).facts, 'volume.block');
    return { volume, hostId };
  }

  #ofUnit(r: CreateVolume, named: string): { readonly volume: Volume; readonly hostId: HostId } {
    const { state, hosts, clock } = this.deps;
    const about = { ...r, unit: named, name: this.#freeName(r.name), labels: checkLabels('a volume', r.labels) };
    return unitVolume(about, { tables: state.tables, hosts }, clock.now());
  }

  #freeName(wanted: string): string {
    const name = checkName('volume', wanted);
    const [taken] = volumesNamed(this.deps.state.tables, name);
    if (taken?.vm) throw alreadyExists(`volume ${name} exists already: it is a disk of vm ${taken.vm.name}`);
    if (taken) throw alreadyExists(`volume ${name} exists already. Choose another name`);
    return name;
  }

  #planned(r: CreateVolume): Volume {
    const { state, clock } = this.deps;
    const { tables } = state;
    const name = this.#freeName(r.name);
    const image = r.image === '' ? undefined : usableImage(tables, r.image);
    if (image === undefined && r.sizeBytes === 0)
      throw invalidArgument(`how large shall volume ${name} be? Say --size 20GiB`);
    const format = VOLUME_FORMATS.find((f) => f === (r.format || 'qcow2'));
    if (format === undefined)
      throw invalidArgument(`a volume is qcow2 or raw, not ${JSON.stringify(r.format.slice(0, 20))}`);
    if (image && format === 'raw')
      throw invalidArgument(`volume ${name} cannot be raw: what is based on an image is qcow2`);
    const { format: only = format, ...pool } = blankPool(tables, { ...r, name });
    const labels = checkLabels('a volume', r.labels);
    const sizeBytes = diskSize(r.sizeBytes, image);
    const id = newId('volume', clock.now());
    const createdAtMs = clock.now();
    return {
      id,
      name,
      state: 'creating',
      hostId: undefined,
      ...pool,
      sizeBytes,
      format: only,
      imageId: image?.id,
      labels,
      createdAtMs,
    };
  }

  #choose(volume: Volume, only: HostId | undefined): HostId {
    const { state, world } = this.deps;
    const answer = world.place(volumeRequest(volume, state.tables, only));
    if ('hostId' in answer) return answer.hostId;
    throw noCapacity(volume, answer.refusals, 'volume');
  }

  /** Of what is there already and grows. */
  #checkRoom(found: FoundVolume, hostId: HostId | undefined, moreBytes: number): void {
    const { state, world } = this.deps;
    const { name, poolId } = this.#view(found);
    checkRoom({ name, sizeBytes: moreBytes, imageId: undefined, poolId }, hostId, { tables: state.tables, world });
  }

  async #act(nameOrId: string, begin: (tx: Tx, found: FoundVolume) => JobId | undefined): Promise<VolumeAnswer> {
    const { state } = this.deps;
    const { id, jobId } = await state.update((tx) => {
      const found = resolveVolume(state.tables, nameOrId);
      this.#allow(found);
      return { id: this.#view(found).id, jobId: begin(tx, found) };
    });
    return this.#answer(id, jobId);
  }

  /** With one that no guest has, or will have when it goes on. */
  #actOff(
    nameOrId: string,
    begin: (tx: Tx, found: FoundVolume, which: WhichVolume) => JobId | undefined,
    may: InPools,
  ): Promise<VolumeAnswer> {
    const { state, hosts, clock } = this.deps;
    return this.#act(nameOrId, (tx, found) => {
      insistOff(found, { tables: state.tables, hosts, nowMs: clock.now() }, may);
      const { hostId, hostName: name, id: volumeId } = this.#view(found);
      if (hostId) needCapability({ name }, hosts.status(hostId).facts, 'volume.rewrite');
      this.#allowFiles(found);
      return begin(tx, found, { volumeId, ...(found.vm && { vmId: found.vm.id }) });
    });
  }

  /** What writes its file anew, or makes it smaller. */
  #allowFiles(found: FoundVolume): void {
    const { hostId, hostName: name } = this.#view(found);
    if (hostId && inFiles(found, this.deps.state.tables))
      needCapability({ name }, this.deps.hosts.status(hostId).facts, 'volume.pool-files');
  }

  /** It is there, its host can do such things, and its VM, if any, is in a state in which it may be changed. */
  #allow(found: FoundVolume): void {
    const { hosts } = this.deps;
    const { hostId, hostName, name, state } = this.#view(found);
    if (found.vm) this.#allowVm(found.vm, hostName);
    if (state === 'creating' || state === 'deleting')
      throw badState(`volume ${name} is being ${state === 'creating' ? 'made' : 'deleted'}`);
    if (hostId) needCapability({ name: hostName }, hosts.status(hostId).facts, 'volume.data');
  }

  #allowVm(vm: Vm, host: string): void {
    const state = this.#stateOf(vm);
    const why = whyNot('update', { name: vm.name, state, host: host || undefined });
    if (why !== undefined) throw state === 'unknown' ? new ClusterError('HOST_UNREACHABLE', why) : badState(why);
  }

  #stateOf(vm: Vm): VmState {
    const { state, hosts, clock } = this.deps;
    return viewVm(vm, { tables: state.tables, hosts, nowMs: clock.now() }).state;
  }

  /** Of a VM whose disks are to be others. */
  #allowDevices(vm: Vm): void {
    const { hosts, state } = this.deps;
    const name = (vm.hostId && state.tables.hosts.get(vm.hostId)?.name) ?? '';
    this.#allowVm(vm, name);
    const facts = vm.hostId && hosts.status(vm.hostId).facts;
    if (facts) needCapability({ name }, facts, 'domain.devices');
    if (facts && takesHardware(state.tables, vm)) needCapability({ name }, facts, 'domain.hardware');
  }

  #start<P>(tx: Tx, def: JobDef<P, never>, params: P, found: FoundVolume, user: string): JobId {
    const { id, name } = this.#view(found);
    const locks: LockName[] = [`volume/${id}:exclusive`];
    if (found.vm) locks.push(`vm/${found.vm.id}:exclusive`);
    return this.deps.jobs.start(tx, def, params, { subject: name, locks, user });
  }

  #answer(id: string, jobId: JobId | undefined): VolumeAnswer {
    return { view: this.#view(resolveVolume(this.deps.state.tables, id)), jobId };
  }

  #view(found: FoundVolume): VolumeView {
    const { state, hosts } = this.deps;
    return viewVolume(found, { tables: state.tables, hosts });
  }
}
