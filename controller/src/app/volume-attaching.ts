/** Volumes that become disks of VMs, and the other way round: what is allowed, and the rows that the jobs make true. Talks to no host. */
import { badState, ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { needsHardware } from '@berth/shared/hardware/domain.ts';
import type { DiskBus } from '@berth/shared/hardware/schema.ts';
import { busOf, freeTarget, prefixOf, TARGET } from '@berth/shared/hardware/targets.ts';
import type { Vm, VmDisk, VmSpec, VmState } from '@berth/shared/model/vm.ts';
import { diskName, type Volume } from '@berth/shared/model/volume.ts';
import type { Tables } from '../state/state.ts';
import { runnable } from '../jobs/volume-create.ts';
import { domainWanted } from '../jobs/wanted.ts';
import { checkName } from './names.ts';
import { volumesNamed, type FoundVolume } from './volume-names.ts';

export interface AttachVolume {
  readonly vm: string;
  /** Empty: virtio, or that of the target. */
  readonly bus: string;
  /** Empty: the first that is free. */
  readonly target: string;
}

export interface DetachVolume {
  /** What it shall be called; empty: as it was. */
  readonly name: string;
  /** Also the first disk of a guest that runs. */
  readonly force: boolean;
}

const BUSES: readonly DiskBus[] = ['virtio', 'scsi', 'sata', 'ide', 'usb'];

/** The VM as it shall be. @throws BAD_STATE, INVALID_ARGUMENT, IN_USE */
export function withVolume(tables: Tables, found: FoundVolume, vm: Vm, r: AttachVolume): { vm: Vm; disk: VmDisk } {
  if (found.vm)
    throw new ClusterError(
      'IN_USE',
      `volume ${diskName(found.vm.name, found.disk.target)} is a disk of vm ${found.vm.name}: one vm has it at a time. ` +
        `Detach it there first (berth volume detach ${found.vm.name}/${found.disk.target})`,
    );
  const { volume } = found;
  runnable(volume);
  if (volume.hostId !== vm.hostId) throw elsewhere(tables, volume, vm);
  const { target, bus } = placeOf(vm, r);
  const options = {
    ...(bus !== busOf(target) || bus !== 'virtio' ? { bus } : {}),
    ...(volume.format === 'raw' && { format: 'raw' as const }),
  };
  const disk: VmDisk = {
    ...{ target, volumeId: volume.id, sizeBytes: volume.sizeBytes, imageId: volume.imageId },
    ...(volume.poolId && { poolId: volume.poolId }),
    ...(volume.unit && { unit: volume.unit }),
    ...(Object.keys(options).length > 0 && { options }),
  };
  return { vm: changing(vm, { ...vm.spec, disks: [...vm.spec.disks, disk] }), disk };
}

/** What a host must be able to do for the VM as it shall be. */
export const takesHardware = (tables: Tables, vm: Vm): boolean => needsHardware(domainWanted(tables, vm));

function elsewhere(tables: Tables, volume: Volume, vm: Vm): Error {
  const [at, there] = [volume.hostId, vm.hostId].map((id) => (id && tables.hosts.get(id)?.name) || 'no host');
  return badState(
    `volume ${volume.name} lies on ${at}, and vm ${vm.name} on ${there}: a vm's disks lie on its own host`,
  );
}

function placeOf(vm: Vm, r: AttachVolume): { target: string; bus: DiskBus } {
  if (r.target !== '' && !TARGET.test(r.target))
    throw invalidArgument(
      `${JSON.stringify(r.target.slice(0, 20))} is no name of a disk: vda to vdy, sda to sdy, or hda to hdd`,
    );
  const bus = r.bus === '' ? (r.target === '' ? 'virtio' : busOf(r.target)) : BUSES.find((b) => b === r.bus);
  if (bus === undefined) throw invalidArgument(`${JSON.stringify(r.bus.slice(0, 20))} is no bus: ${BUSES.join(', ')}`);
  const taken = [...vm.spec.disks, ...(vm.live?.disks ?? []), ...(vm.spec.cdroms ?? [])].map((d) => d.target);
  const target = r.target === '' ? freeTarget(bus, taken) : r.target;
  if (target === undefined) throw badState(`vm ${vm.name} has no room for a disk on bus ${bus}: it is full`);
  if (taken.includes(target)) throw badState(`vm ${vm.name} has a disk ${target} already: it has ${taken.join(', ')}`);
  if (!target.startsWith(prefixOf(bus)))
    throw invalidArgument(`a disk on bus ${bus} is called ${prefixOf(bus)}a and so on, not ${target}`);
  return { target, bus };
}

/** A guest that runs has its system on the first of its disks, and hardly ever lives on without. @throws BAD_STATE */
export function insistNotBooted(vm: Vm, disk: VmDisk, state: VmState): void {
  const [first] = (vm.live ?? vm.spec).disks;
  if (first?.volumeId !== disk.volumeId || (state !== 'running' && state !== 'paused')) return;
  throw badState(
    `disk ${disk.target} is the one that vm ${vm.name} boots from, and ${vm.name} is ${state}: its guest would lose its system. ` +
      `Stop it first (berth vm stop ${vm.name}), or take the disk all the same with --force`,
  );
}

/** The VM as it shall be, and what the volume shall be called. */
export function withoutVolume(tables: Tables, vm: Vm, disk: VmDisk, name: string): { vm: Vm; name: string } {
  const disks = vm.spec.disks.filter((d) => d.volumeId !== disk.volumeId);
  return {
    vm: changing(vm, { ...vm.spec, disks }),
    name: name === '' ? freeName(tables, vm, disk) : givenName(tables, name),
  };
}

function givenName(tables: Tables, name: string): string {
  if (volumesNamed(tables, checkName('volume', name)).length > 0)
    throw new ClusterError('ALREADY_EXISTS', `volume ${name} exists already. Choose another name`);
  return name;
}

/** As it was called as a disk; a number behind it when an earlier one still is. */
function freeName(tables: Tables, vm: Vm, disk: VmDisk): string {
  const name = diskName(vm.name, disk.target).slice(0, 60);
  if (!tables.volumes.byName(name)) return name;
  for (let n = 2; ; n++) if (volumesNamed(tables, `${name}-${n}`).length === 0) return `${name}-${n}`;
}

const changing = (vm: Vm, spec: VmSpec): Vm => ({
  ...{ ...vm, spec, generation: vm.generation + 1 },
  before: { spec: vm.spec, ...(vm.live && { live: vm.live }) },
});
