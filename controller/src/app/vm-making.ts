/** How VMs are made, of images or of blank disks: the row, the room, the job. Talks to no host; the jobs do. */
import { alreadyExists, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { Guests } from '../guests/guests.ts';
import type { LockName } from '../jobs/engine/jobs.ts';
import { imageLocks } from '../jobs/images-needed.ts';
import { noCapacity } from '../jobs/refused.ts';
import { vmClone, type CloneParams } from '../jobs/vm-clone.ts';
import { vmCreate } from '../jobs/vm-create.ts';
import { requestOf } from '../jobs/world.ts';
import { given } from './given.ts';
import { resolve } from './names.ts';
import { usableImage } from './usable-image.ts';
import type { VmAnswer, VmDeps } from './vm-deps.ts';
import { cloneKind, newVm, type CloneVm, type CreateVm } from './vm-request.ts';
import { viewVm, type VmView } from './vm-view.ts';

const BUILT_IN = new Guests();

export class VmMaking {
  constructor(private readonly deps: VmDeps) {}

  create(request: CreateVm, user: string): Promise<VmAnswer> {
    return this.#make(request, undefined, user);
  }

  async clone(request: CloneVm, user: string): Promise<VmAnswer> {
    this.bootable(request);
    return this.#make(request, request.image, user);
  }

  /** The image that disks are to be made from. */
  bootable(request: Pick<CloneVm, 'image' | 'name'>): Image {
    const image = usableImage(this.deps.state.tables, request.image);
    if (!image.medium) return image;
    throw invalidArgument(
      `image ${image.name} is a CD-ROM, which no disk boots from. To install from it: ` +
        `berth vm create ${request.name || 'NAME'} --cdrom ${image.name} --disk 20GiB`,
    );
  }

  async #make(request: CreateVm & Partial<CloneVm>, imageName: string | undefined, user: string): Promise<VmAnswer> {
    const { state } = this.deps;
    const only = request.host === '' ? undefined : resolve('host', state.tables.hosts, request.host).id;
    if (request.dryRun) return this.#dryRun(request, imageName, only);
    const made = await state.update((tx) => {
      const vm = this.planned(request, imageName);
      this.#choose(vm, only);
      tx.vms.put(vm);
      const hostId = only ?? null;
      const start = request.start === true;
      const locks: LockName[] = [`vm/${vm.id}:exclusive`, ...imageLocks(vm.spec)];
      const clone = cloneParams(vm, request, hostId);
      const options = { subject: vm.name, locks, user };
      const jobId = clone
        ? this.deps.jobs.start(tx, vmClone, clone, options)
        : this.deps.jobs.start(tx, vmCreate, { vmId: vm.id, hostId, start }, options);
      return { vm, jobId };
    });
    return { view: this.#view(state.tables.vms.get(made.vm.id) ?? made.vm), jobId: made.jobId };
  }

  async #dryRun(
    request: CreateVm & Partial<CloneVm>,
    imageName: string | undefined,
    only: HostId | undefined,
  ): Promise<VmAnswer> {
    const vm = this.planned(request, imageName);
    const view = this.#view({ ...vm, hostId: this.#choose(vm, only) });
    await this.deps.state.settled();
    return { view, jobId: undefined };
  }

  /** A VM as it would be made: its row, which nobody has written yet. */
  planned(r: CreateVm & Partial<CloneVm>, imageName: string | undefined, random = this.deps.random): Vm {
    const { state, clock, guests } = this.deps;
    const { tables } = state;
    const imageOf = (name: string): Image => usableImage(tables, name);
    const image = imageName === undefined ? undefined : imageOf(imageName);
    const from = { tables, random, nowMs: clock.now(), guests: guests ?? BUILT_IN, imageOf };
    const vm = newVm(from, r, image);
    const taken = tables.vms.byName(vm.name);
    if (!taken) return vm;
    const { hostName } = this.#view(taken);
    throw alreadyExists(`vm ${vm.name} exists already${hostName ? ` on ${hostName}` : ''}`);
  }

  /** Asked before a job is started, so that a person hears at once; the job asks again when it takes the claim. */
  #choose(vm: Vm, only: HostId | undefined): HostId {
    const { state, world } = this.deps;
    const answer = world.place(requestOf(vm, state.tables, only));
    if ('hostId' in answer) return answer.hostId;
    throw noCapacity(vm, answer.refusals);
  }

  #view(vm: Vm): VmView {
    const { state, hosts, clock } = this.deps;
    return viewVm(vm, { tables: state.tables, hosts, nowMs: clock.now() });
  }
}

/** What vm.clone has to know; undefined: no disk of it has an image. */
export function cloneParams(
  vm: Vm,
  request: Pick<CreateVm, 'start'> & Pick<Partial<CloneVm>, 'kind'>,
  hostId: HostId | null,
): CloneParams | undefined {
  const imageId = vm.spec.disks.flatMap((d) => d.imageId ?? d.copyOf ?? [])[0];
  const start = request.start === true;
  return imageId && { vmId: vm.id, hostId, imageId, start, ...given({ kind: cloneKind(request) }) };
}
