/** Snapshots in the row of their VM: found, put, taken out. What is done about them is the jobs'. */
import { notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Vm, VmSnapshot } from '@berth/shared/model/vm.ts';
import type { VmParams } from './vm-start.ts';

export interface SnapshotParams extends VmParams {
  readonly name: string;
}

export const findSnapshot = (vm: Vm, name: string): VmSnapshot | undefined =>
  vm.snapshots?.find((s) => s.name === name);

/** @throws NOT_FOUND */
export function getSnapshot(vm: Vm, name: string): VmSnapshot {
  const found = findSnapshot(vm, name);
  if (found) return found;
  throw notFound(`vm ${vm.name} has no snapshot ${name}. See: berth vm snapshot list ${vm.name}`);
}

/** In its place, or as the newest. */
export function withSnapshot(vm: Vm, s: VmSnapshot): Vm {
  const others = vm.snapshots ?? [];
  const there = others.some((o) => o.name === s.name);
  return { ...vm, snapshots: there ? others.map((o) => (o.name === s.name ? s : o)) : [...others, s] };
}

export function withoutSnapshot(vm: Vm, name: string): Vm {
  const { snapshots = [], ...rest } = vm;
  const left = snapshots.filter((s) => s.name !== name);
  return left.length === 0 ? rest : { ...rest, snapshots: left };
}
