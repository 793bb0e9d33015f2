/** Finding a volume by what people call it: its name or id, and of a VM's also VM-TARGET and VM/TARGET. Reads tables. */
import { invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { TARGET } from '@berth/shared/hardware/targets.ts';
import type { Labels } from '@berth/shared/labels/selector.ts';
import { isId } from '@berth/shared/model/ids.ts';
import type { Vm, VmDisk } from '@berth/shared/model/vm.ts';
import type { Volume } from '@berth/shared/model/volume.ts';
import type { Tables } from '../state/state.ts';
import { resolve } from './names.ts';

export type FoundVolume =
  | { readonly volume: Volume; readonly vm?: undefined }
  | { readonly volume?: undefined; readonly vm: Vm; readonly disk: VmDisk };

type Known = Pick<Tables, 'volumes' | 'vms'>;

/** @throws NOT_FOUND; INVALID_ARGUMENT when a name is that of one that stands alone, and of a disk too. */
export function resolveVolume(tables: Known, nameOrId: string): FoundVolume {
  const [one, other] = volumesNamed(tables, nameOrId);
  if (one !== undefined && other !== undefined) throw both(nameOrId, one, other);
  if (one !== undefined) return one;
  if (nameOrId.includes('/')) throw notFound(`volume ${nameOrId.slice(0, 80)} does not exist. See: berth volume list`);
  return { volume: resolve('volume', tables.volumes, nameOrId) };
}

export function volumesNamed({ volumes, vms }: Known, nameOrId: string): readonly FoundVolume[] {
  if (isId('volume', nameOrId)) {
    const volume = volumes.get(nameOrId);
    const vm = vms.byVolume(nameOrId);
    return volume ? [{ volume }] : diskOf(vm, (d) => d.volumeId === nameOrId);
  }
  const volume = volumes.byName(nameOrId);
  const m = /^(.+)([-/])([a-z]{3})$/.exec(nameOrId);
  const ofVm =
    m?.[1] !== undefined && TARGET.test(m[3] ?? '') ? diskOf(vms.byName(m[1]), (d) => d.target === m[3]) : [];
  return [...(volume ? [{ volume }] : []), ...ofVm];
}

/** One that is being detached too. */
function diskOf(vm: Vm | undefined, is: (d: VmDisk) => boolean): readonly FoundVolume[] {
  if (vm === undefined) return [];
  const disk = vm.spec.disks.find(is) ?? vm.before?.spec.disks.find(is);
  return disk ? [{ vm, disk }] : [];
}

function both(name: string, ...found: readonly FoundVolume[]): Error {
  const words = found.map((f) =>
    f.vm ? `${f.vm.name}/${f.disk.target} (of vm ${f.vm.name})` : `${f.volume.id} (alone)`,
  );
  return invalidArgument(`${name} can be either of two volumes: ${words.join(', ')}. Say which`);
}

export const labelsOfVolume = (f: FoundVolume): Labels => (f.vm ? f.vm.spec.labels : f.volume.labels);
