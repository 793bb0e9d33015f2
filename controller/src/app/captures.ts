/** Images of VMs: what people may capture, what it is called, and what is made of it gets. Starts jobs; talks to no host. */
import { badState, ClusterError, invalidArgument, notFound, unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { DiskDefinition, VmDefinition } from '@berth/shared/hardware/definition.ts';
import { joinImageName, splitImageName } from '@berth/shared/model/image-name.ts';
import type { Image } from '@berth/shared/model/image.ts';
import { newId, type JobId, type NetworkId } from '@berth/shared/model/ids.ts';
import type { Vm, VmDisk } from '@berth/shared/model/vm.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { whyNot } from '@berth/shared/model/actions.ts';
import { findSnapshot } from '../jobs/snapshot-rows.ts';
import { imageCapture } from '../jobs/image-capture.ts';
import { ableTo } from '../jobs/world.ts';
import { readsPool } from '../jobs/world-pools.ts';
import { imageLocks } from '../jobs/images-needed.ts';
import type { State, Tx } from '../state/state.ts';
import { takeImageName } from './image-versions.ts';
import { checkImageName, resolve } from './names.ts';
import { nameIn } from './vm-pools.ts';
import { viewVm, type VmView } from './vm-view.ts';

export interface CaptureDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly clock: Clock;
}

export interface CaptureVm {
  readonly vm: string;
  /** Empty: the VM's. */
  readonly name: string;
  /** Targets; empty: the first, or all of a hidden one. */
  readonly disks: readonly string[];
  /** To clone the VM from: not listed, and gone when nothing is based on it. */
  readonly hidden: boolean;
  /** Takes out of the first disk what makes its guest one machine among others. */
  readonly generalize?: boolean;
  /** As its disks were in this snapshot; empty: as they are now. */
  readonly snapshot?: string;
}

export interface Captured {
  readonly images: readonly Image[];
  readonly jobId: JobId;
}

interface Planned {
  readonly vm: Vm;
  readonly disks: readonly VmDisk[];
  /** Nobody has written them yet. */
  readonly images: readonly Image[];
}

const STATES: readonly string[] = ['stopped', 'crashed', 'running', 'paused'];

export class Captures {
  constructor(private readonly deps: CaptureDeps) {}

  capture(request: CaptureVm, user: string): Promise<Captured> {
    const { state, jobs } = this.deps;
    return state.update((tx) => {
      const { vm, disks, images } = this.#planned(tx, request);
      for (const image of images) tx.images.put(image);
      const params = {
        vmId: vm.id,
        disks: disks.map((d, i) => ({ target: d.target, volumeId: d.volumeId, imageId: images[i]!.id })),
        ...(request.generalize === true && { generalize: true }),
        ...(request.snapshot && { snapshot: request.snapshot }),
      };
      const locks = [
        `vm/${vm.id}:exclusive` as const,
        ...imageLocks(vm.spec),
        ...images.map((i) => `image/${i.id}:exclusive` as const),
      ];
      return { images, jobId: jobs.start(tx, imageCapture, params, { subject: vm.name, locks, user }) };
    });
  }

  /**
   * As if the VM had been captured to clone it: images that are there, in an update that is taken back. Answers that of the first disk.
   * @throws what `capture` does
   */
  standIn(tx: Tx, of: Pick<CaptureVm, 'vm' | 'snapshot'>): Image {
    const { vm, images } = this.#planned(tx, { ...of, name: '', disks: [], hidden: true });
    for (const [i, { id: imageId, ...image }] of images.entries()) {
      const digest = `sha256:${String(i).padStart(64, '0')}`;
      // told of to people whose VM of that name is made of another image
      const name = i === 0 ? `vm/${vm.name}` : image.name;
      tx.images.put({ ...image, id: imageId, name, state: 'available', digest });
      if (vm.hostId !== undefined) tx.imageCopies.put({ imageId, hostId: vm.hostId, fileBytes: 0 });
    }
    return images[0]!;
  }

  #planned(tx: Tx, request: CaptureVm): Planned {
    const { state, hosts, clock } = this.deps;
    const vm = resolve('vm', state.tables.vms, request.vm);
    const view = viewVm(vm, { tables: state.tables, hosts, nowMs: clock.now() });
    if (request.snapshot) this.#allowSnapshot(view, request.snapshot);
    else this.#allow(view);
    if (request.generalize === true) this.#allowGeneralize(view, request);
    const disks = chosen(vm, request);
    if (request.snapshot) refuseOutside(view, disks, request.snapshot, this.deps);
    else refusePooled(view, disks, this.deps);
    return { vm, disks, images: this.#images(tx, view, disks, request) };
  }

  #allow({ vm, state, hostName }: VmView): void {
    if (state === 'unknown')
      throw new ClusterError('HOST_UNREACHABLE', `vm ${vm.name} is on ${hostName}, which does not answer now`);
    if (!STATES.includes(state) || vm.hostId === undefined)
      throw badState(
        state === 'saved'
          ? `vm ${vm.name} is saved: what it holds in memory is not on its disks. Start it first (berth vm start ${vm.name})`
          : `vm ${vm.name} is ${state}. Its disks can be captured when it is off, runs or is paused`,
      );
    needCapability({ name: hostName }, this.deps.hosts.status(vm.hostId).facts, 'image.capture');
  }

  /** What is in a snapshot stays as it is, whatever the guest does. */
  #allowSnapshot({ vm, state, hostName }: VmView, snapshot: string): void {
    const why = whyNot('deleteSnapshot', { name: vm.name, state, host: hostName || undefined });
    if (why !== undefined) throw state === 'unknown' ? new ClusterError('HOST_UNREACHABLE', why) : badState(why);
    // one that was made by hand is not in the row, but may well be on its host
    const row = findSnapshot(vm, snapshot);
    if (row && row.phase !== 'ready') throw badState(`snapshot ${snapshot} of vm ${vm.name} is not whole yet`);
    const facts = vm.hostId && this.deps.hosts.status(vm.hostId).facts;
    needCapability({ name: hostName }, facts, 'image.capture');
    needCapability({ name: hostName }, facts, 'snapshots');
  }

  #allowGeneralize({ vm, hostName }: VmView, { hidden }: CaptureVm): void {
    if (hidden) throw invalidArgument('generalize is for images that are listed: a clone of a vm is told who it is');
    const facts = vm.hostId && this.deps.hosts.status(vm.hostId).facts;
    const able = facts && ableTo(facts);
    needCapability({ name: hostName }, able, 'upload.generalize');
    if (!able?.capabilities.includes('volume.customize'))
      throw unsupported(`host ${hostName} cannot change guests from outside: see berth host check ${hostName}`);
  }

  #images(tx: Tx, view: VmView, disks: readonly VmDisk[], request: CaptureVm): readonly Image[] {
    const { vm } = view;
    const nowMs = this.deps.clock.now();
    const ids = disks.map(() => newId('image', nowMs));
    // an image that is listed may outlive networks
    const networkOf = request.hidden ? nameIn(this.deps.state.tables) : (): string => '';
    return disks.map((d, i) => {
      const id = ids[i]!;
      const name = request.hidden ? `${vm.name.slice(0, 32)}-${d.target}-${id.slice(-12)}` : nameOf(vm, request, i, d);
      if (!request.hidden) takeImageName(tx, name);
      const more = disks.slice(1).map((x, n) => ({ ...x.options, sizeBytes: x.sizeBytes, image: ids[n + 1]! }));
      const defaults = i > 0 ? {} : { defaults: defaultsOf(vm, d, request.hidden ? more : [], networkOf) };
      return {
        ...{ id, name, state: 'importing' as const, digest: undefined, sourceDigest: undefined },
        ...{ virtualSizeBytes: d.sizeBytes, createdAtMs: nowMs, ...defaults },
        ...(request.hidden && { hidden: true, ownerLabels: vm.spec.labels }),
        origin: originOf(vm, d, request.snapshot),
      };
    });
  }
}

/** `vm web`; of one with several disks `vm web, disk vdb`. */
const originOf = ({ name, spec }: Vm, { target }: VmDisk, snapshot = ''): string =>
  `vm ${name}${spec.disks.length > 1 ? `, disk ${target}` : ''}${snapshot === '' ? '' : `, snapshot ${snapshot}`}`;

/** `debian:12.4`, and of a second disk `debian-vdb:12.4`. */
function nameOf(vm: Vm, request: CaptureVm, i: number, d: VmDisk): string {
  const said = checkImageName(request.name || vm.name);
  if (i === 0) return said;
  const { name, version } = splitImageName(said);
  return checkImageName(joinImageName({ name: `${name}-${d.target}`, version }));
}

function chosen(vm: Vm, { disks, hidden, snapshot = '' }: CaptureVm): readonly VmDisk[] {
  // disks that came later are not in it
  const within = hidden && disks.length === 0 ? findSnapshot(vm, snapshot)?.disks : undefined;
  const all = vm.spec.disks.filter((d) => within?.includes(d.target) ?? true);
  const [first] = all;
  if (!first) throw badState(`vm ${vm.name} has no disk to make an image of`);
  if (new Set(disks).size !== disks.length) throw invalidArgument('the same disk was named twice');
  if (disks.length === 0) return hidden ? all : [first];
  return disks.map((target) => {
    const found = all.find((d) => d.target === target);
    if (found) return found;
    throw notFound(`vm ${vm.name} has no disk ${target}: it has ${all.map((d) => d.target).join(', ')}`);
  });
}

function refuseOutside(
  { vm, hostName: name }: VmView,
  disks: readonly VmDisk[],
  snapshot: string,
  { hosts }: CaptureDeps,
): void {
  const row = findSnapshot(vm, snapshot);
  for (const d of disks) {
    if (row && !row.disks.includes(d.target))
      throw notFound(
        `disk ${d.target} of vm ${vm.name} is not in snapshot ${snapshot}: that has ${row.disks.join(', ')}`,
      );
    if (d.poolId !== undefined && vm.hostId) needCapability({ name }, hosts.status(vm.hostId).facts, 'snapshot.pools');
  }
}

/** Of a VM that is off, its host reads the disks, which older ones can in pool local only; of one that runs, QEMU reads them wherever they lie. */
function refusePooled(
  { vm, state, hostName }: VmView,
  disks: readonly VmDisk[],
  { state: { tables }, hosts }: CaptureDeps,
): void {
  if (state === 'running' || state === 'paused') return;
  for (const { poolId } of disks) {
    const inPool = readsPool(tables, poolId);
    if (vm.hostId && inPool) needCapability({ name: hostName }, hosts.status(vm.hostId).facts, inPool);
  }
}

/** What a clone gets of the VM: what it is made of, and nothing that is its alone or its host's. */
function defaultsOf(
  vm: Vm,
  first: VmDisk,
  more: readonly DiskDefinition[],
  networkOf: (id: NetworkId | undefined) => string,
): VmDefinition {
  const { vcpus, memoryBytes, osVariant, nics, hardware = {} } = vm.spec;
  const { hostDevices: _, kernel: __, graphics, ...rest } = hardware;
  const screens = graphics?.map(({ password: ___, port: ____, ...g }) => g);
  const { format: _____, ...options } = first.options ?? {};
  return {
    ...{ vcpus, memoryBytes, ...(osVariant !== undefined && { osVariant }) },
    ...rest,
    ...(screens && { graphics: screens }),
    nics: nics.map(({ bridge, networkId, model, options: o }) => {
      const network = networkOf(networkId);
      return { ...(network === '' ? { bridge } : { network }), model: model as 'virtio', ...o };
    }),
    ...((more.length > 0 || Object.keys(options).length > 0) && {
      disks: [options, ...more.map(({ format: ______, ...d }) => d)],
    }),
  };
}
